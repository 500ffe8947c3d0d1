"""The demonstrations of rules: each bad example loses what its rule says, each good one loses nothing."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.unit.pages import DOCS
from typer.testing import CliRunner

from changeover.audit.rules import all_rules
from changeover.cli import proved
from changeover.cli.main import cli
from changeover.cli.rendering.lab import row
from changeover.lab.demonstration import Demonstration
from changeover.lab.demonstrations import ALL
from changeover.lab.prove import prove

RULES = {rule.id: rule for rule in all_rules()}
EVERY = [one for demonstrations in ALL.values() for one in demonstrations]
SAMPLE = {"NGX01", "NGX11", "STR03", "HAP01"}
"""Signals, a retry and a TCP proxy; in `make test` only those whose times are far apart."""
FUZZ = pytest.mark.fuzz
HEAD = "| rule | what is done | scale | bad example | good example |\n| --- | --- | --- | --- | --- |\n"


@pytest.fixture(scope="module")
def rows() -> Iterator[list[str]]:
    """Those of docs/rules.md. With CHANGEOVER_WRITE_DOCS=1 the page gets what was measured."""
    measured: list[str] = []
    yield measured
    if os.environ.get("CHANGEOVER_WRITE_DOCS") and len(measured) == len(EVERY):
        page = DOCS / "rules.md"
        block = f"<!-- lab -->\n{HEAD}{''.join(measured)}<!-- /lab -->"
        page.write_text(re.sub(r"<!-- lab -->\n.*?<!-- /lab -->", lambda _: block, page.read_text(), flags=re.DOTALL))


@pytest.mark.parametrize(
    "shown",
    [pytest.param(one, marks=() if one is ALL[one.rule][0] and one.rule in SAMPLE else FUZZ) for one in EVERY],
    ids=lambda one: one.rule,
)
def test_the_bad_example_loses_what_the_rule_says_and_the_good_one_nothing(
    shown: Demonstration, rows: list[str]
) -> None:
    proof = asyncio.run(prove(RULES[shown.rule], shown))
    assert not proof.disagreements
    rows.append(f"{row(proof)}\n")
    if not os.environ.get("CHANGEOVER_WRITE_DOCS"):
        assert rows[-1] in (DOCS / "rules.md").read_text(), "run `make lab`"


def test_the_command_proves_a_rule() -> None:
    result = CliRunner(env={"COLUMNS": "1000"}).invoke(cli, ["audit", "--prove", "ngx10"])
    assert result.exit_code == 0, result.output
    assert "as the rule says" in result.stdout
    assert "good 0 of 10 requests lost" in result.stdout


def test_a_rule_whose_bad_example_loses_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(RULES["NGX11"], bad=RULES["NGX11"].good)
    monkeypatch.setattr(proved, "all_rules", lambda: (wrong,))
    result = CliRunner(env={"COLUMNS": "1000"}).invoke(cli, ["audit", "--prove", "NGX11"])
    assert result.exit_code == 1, result.output
    assert "the bad example loses nothing" in result.stdout
