from __future__ import annotations

from io import StringIO

from rich.console import Console
from tests.unit.probe.rows import row

from changeover.probe.report import render
from changeover.probe.verdict import Verdict, judge_rows


def shown(verdict: Verdict) -> str:
    console = Console(file=StringIO(), width=160)
    console.print(render(verdict))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_clean_verdict_shows_its_summary_and_no_losses() -> None:
    text = shown(judge_rows([row()] * 1234))
    assert text.startswith("0 lost, 0 duplicated, 0 corrupted of 1,234 GET and 0 POST (0 B)\n")
    assert "failed requests" not in text


def test_a_loss_shows_when_why_and_what_was_moving() -> None:
    text = shown(judge_rows([row(outcome="lost", reason="reset before response", tier_state={"moving": "[edge]"})]))
    assert "the first 1 of 1 failed requests" in text
    line = next(line for line in text.splitlines() if "reset before response" in line and "00:16:40.010" in line)
    assert "get /hello" in line
    assert "reset before response" in line
    assert "moving: [edge]" in line


def test_a_verdict_over_nothing_can_be_shown() -> None:
    assert shown(judge_rows([])).startswith("the probe sent no requests, which proves nothing\n")
