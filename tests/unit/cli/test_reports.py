from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.report.reports import END, journal_of_a_roll, ledger_of, lost, rows_around

from changeover.cli.options.reports import ReportFiles
from changeover.cli.rendering.output import Output
from changeover.cli.reports import report_rolled, report_traffic
from changeover.report.verify import read_report

OUTPUT = Output(as_json=False)


def test_the_report_of_a_probe_has_its_command_and_no_secret_query(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, [*rows_around(), lost(path="/x?token=secret")])
    files = ReportFiles(tmp_path / "page.html", tmp_path / "summary.md")
    ran = {"argv": ["deploy"], "started": 1009.0, "ended": 1020.0, "exit_code": 0, "steady_again": 1021.0}
    counts = {"broken_before": 0, "broken_during": 1, "broken_after": 0}
    assert report_traffic(OUTPUT, ledger, "http://shop", ran | counts, files)
    page = (tmp_path / "page.html").read_text()
    report = read_report(page, "page")
    assert report.command is not None
    assert (report.command.broken_during, report.conclusion) == (1, "broken")
    assert "secret" not in page
    assert "Report: " in (tmp_path / "summary.md").read_text()


def test_a_report_that_cannot_be_written_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = ledger_of(tmp_path, rows_around())
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert not report_traffic(OUTPUT, ledger, "http://shop", None, ReportFiles(blocked / "page.html"))
    assert "The report was not written" in capsys.readouterr().err


def test_a_rollout_is_reported_with_the_ledger_of_its_time(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path / "ledgers", rows_around())
    os.utime(ledger, (END, END))  # no probe is writing it
    with closing(journal_of_a_roll(tmp_path)) as journal:
        assert asyncio.run(report_rolled(OUTPUT, journal, {1}, tmp_path / "page.html", None))
    report = read_report((tmp_path / "page.html").read_text(), "page")
    assert report.summary == "0 lost, 0 duplicated, 0 corrupted of 66 GET and 1 POST (50.0 MB)"
    assert [one.tier for one in report.rollouts] == ["runtime"]


@pytest.mark.parametrize(
    "spoil", [lambda path: path.mkdir(), lambda path: path.write_text('{"format":1}\n{"kind":"g\n')]
)
def test_a_ledger_that_cannot_be_read_leaves_the_report_unwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], object]
) -> None:
    ledger_of(tmp_path / "ledgers", rows_around())
    spoil(tmp_path / "ledgers" / "other.jsonl")
    with closing(journal_of_a_roll(tmp_path)) as journal:
        assert not asyncio.run(report_rolled(OUTPUT, journal, {1}, tmp_path / "page.html", tmp_path / "page.md"))
    assert "The report was not written: " in (told := capsys.readouterr().err)
    assert "other.jsonl" in told
    assert not list(tmp_path.glob("page.*"))
