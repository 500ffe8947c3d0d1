"""Each rule finds its bad example at the marked lines, and the good one meets it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.audit.expectations import audited, expected, fixture, violations

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Outcome
from changeover.audit.rule import Rule
from changeover.audit.rules import all_rules
from changeover.audit.view import View
from changeover.cli.rendering.audit import rule_text

FIXTURES = Path(__file__).parent / "fixtures"
SETS = sorted(path for path in FIXTURES.iterdir() if path.is_dir())


def by_id(rule: Rule) -> str:
    return rule.id


@pytest.mark.parametrize("rule", all_rules(), ids=by_id)
def test_a_rule_finds_its_bad_example_at_the_marked_lines(rule: Rule) -> None:
    wanted = {one for one in expected(rule.bad) if one[2] == rule.id}
    assert wanted, "the bad example marks no line"
    assert violations(audited(rule.bad, {**rule.assume, **rule.assume_bad}, [rule])) == wanted


@pytest.mark.parametrize("rule", all_rules(), ids=by_id)
def test_the_good_example_of_a_rule_meets_it(rule: Rule) -> None:
    found = audited(rule.good, rule.assume, [rule])
    assert [one.finding.outcome for one in found.judged] == [Outcome.MET] * len(found.judged)
    assert found.judged


def _nothing(view: View, asked: Assumptions) -> Iterator[Finding]:
    yield from ()


@pytest.mark.parametrize("rule", all_rules(), ids=by_id)
def test_a_rule_that_is_switched_off_would_be_noticed(rule: Rule) -> None:
    with pytest.raises(AssertionError):
        test_a_rule_finds_its_bad_example_at_the_marked_lines(replace(rule, check=_nothing))
    with pytest.raises(AssertionError):
        test_the_good_example_of_a_rule_meets_it(replace(rule, check=_nothing))


@pytest.mark.parametrize("rule", all_rules(), ids=by_id)
def test_a_rule_says_all_that_a_reader_needs(rule: Rule) -> None:
    found = audited(rule.bad, {**rule.assume, **rule.assume_bad}, [rule])
    for one in found.of(Outcome.VIOLATED):
        assert one.finding.consequence
        assert one.finding.fix
        assert "GET" in one.finding.consequence or one.finding.get is one.finding.post is Effect.OK
    assert rule.what.endswith(".")
    assert rule.sources
    assert all(source.startswith("https://") for source in rule.sources)
    assert rule.name in rule_text(rule).plain


def test_each_rule_has_an_id_and_a_name_of_its_own() -> None:
    assert len({rule.id for rule in all_rules()}) == len({rule.name for rule in all_rules()}) == len(all_rules())


@pytest.mark.parametrize("folder", SETS, ids=lambda folder: folder.name)
def test_a_whole_configuration_has_the_marked_findings_and_no_other(folder: Path) -> None:
    files, assume = fixture(folder)
    assert violations(audited(files, assume)) == expected(files)
