"""`changeover verify` compares rollouts with the journal, and names what the journal no longer knows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.unit.report.reports import END, START, journal_of_a_roll, ledger_of, report_of, rows_around
from typer.testing import CliRunner

from changeover.cli.exits import COULD_NOT, DONE, ROLLED_BACK
from changeover.cli.main import cli
from changeover.engine.journal.journal import Journal
from changeover.engine.journal.records import DEATH, INTERRUPTION, LONG_LIVED, LogLine
from changeover.report.compare import with_journal
from changeover.report.content import Report
from changeover.report.page import render
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(journal_of_a_roll(tmp_path)) as found:
        yield found


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return ledger_of(tmp_path / "ledgers", rows_around())


@pytest.fixture
def report(journal: Journal, ledger: Path) -> Report:
    return report_of(journal, [ledger], floors={}, chain_sha256=None)


def verify(report: Report, ledger: Path, *words: str) -> tuple[int, str]:
    file = ledger.with_name("page.html")
    file.write_text(render(report))
    ran = CliRunner(env={"COLUMNS": "1000"}).invoke(cli, ["verify", str(file), str(ledger), *words])
    return ran.exit_code, ran.output


def altered(report: Report, change: Callable[[dict[str, Any]], object]) -> Report:
    data = json.loads(report.model_dump_json())
    change(data["rollouts"][0])
    return Report.model_validate(data)


def test_rollouts_that_are_as_in_the_journal_are_true(report: Report, ledger: Path) -> None:
    assert verify(report, ledger) == (DONE, f"The report is true: {report.summary}.\n")


@pytest.mark.parametrize(
    ("change", "printed"),
    [
        (lambda one: one.update(outcome="undone"), "outcome is 'undone' in the report, and 'completed' in the journal"),
        (lambda one: one.update(reason="all is well"), "reason is 'all is well'"),
        (lambda one: one.update(tier="edge"), "tier is 'edge'"),
        (lambda one: one.update(to_template="v9"), "to_template is 'v9'"),
        (lambda one: one.update(requested_by="mallory"), "requested_by is 'mallory'"),
        (lambda one: one.update(started=START + 1), "started is 1001.0"),
        (lambda one: one.update(id=7), "Rollout 7 is not in the journal"),
        (lambda one: one.update(broke=["old-1: cut"]), "broke is ('old-1: cut',)"),
        (lambda one: one.update(deaths=["new-3 died"]), "deaths is"),
        (lambda one: one.update(floor=2), "the floor is 2 in the report, and None by the chain file"),
        (lambda one: one.update(serving=[]), "the number in service is not that of its instances"),
        (lambda one: one["serving"][0].update(count=3), "the number in service is not that of its instances"),
        (lambda one: one["instances"][0].update(drained_in=0.5), "instance old-1 is not as in the journal"),
        (lambda one: one["instances"][0]["spans"][2].update(end=1006.0), "instance old-1 is not as in the journal"),
        (lambda one: one["instances"][1].update(template="v2"), "instance old-2 is not as in the journal"),
        (lambda one: one["instances"][1].update(died=True), "instance old-2 is not as in the journal"),
        (lambda one: (one["instances"].pop(1), one.update(instances_in_all=2)), "leaves out instance old-2"),
    ],
)
def test_a_changed_number_of_a_rollout_is_found_in_data_and_text_alike(
    report: Report, ledger: Path, change: Callable[[dict[str, Any]], object], printed: str
) -> None:
    code, out = verify(altered(report, change), ledger)
    assert code == ROLLED_BACK
    assert printed in out


def test_a_journal_that_says_otherwise_is_found(journal: Journal, report: Report, ledger: Path) -> None:
    journal.take_lease("roll", END)
    journal.write_line(END, 1, "runtime", LogLine(INTERRUPTION, "The load balancer ended."))
    code, out = verify(report, ledger)
    assert (code, "The load balancer ended." in out) == (ROLLED_BACK, True)


def test_a_picture_of_another_time_is_found(report: Report, ledger: Path) -> None:
    code, out = verify(report.model_copy(update={"end": report.end + 60}), ledger)
    assert (code, "do not show the time of the rollouts" in out) == (ROLLED_BACK, True)


def test_after_down_what_the_log_has_is_compared_and_the_rest_is_named(
    journal: Journal, report: Report, ledger: Path
) -> None:
    journal.take_lease("down", END)
    journal._db.execute("delete from members")
    code, out = verify(report, ledger)
    assert code == DONE
    assert "Not compared: Rollout 1: cut and killed instances" in out
    assert "Not compared: Rollout 1: 1 instances that did not move are no longer in the journal." in out
    for change in (
        lambda one: one.update(outcome="undone"),
        lambda one: one["instances"][0].update(drained_in=0.5),
        lambda one: one["serving"][0].update(count=3),
    ):
        assert verify(altered(report, change), ledger)[0] == ROLLED_BACK


def test_after_down_a_report_that_leaves_out_an_interruption_is_not_true(journal: Journal, ledger: Path) -> None:
    journal.take_lease("down", END)
    journal.write_line(END, 1, "runtime", LogLine(INTERRUPTION, "The load balancer ended."))
    report = report_of(journal, [ledger], floors={}, chain_sha256=None)
    journal._db.execute("delete from members")
    assert verify(report, ledger)[0] == DONE
    code, out = verify(altered(report, lambda one: one.update(broke=[])), ledger)
    assert (code, "leaves out: The load balancer ended." in out) == (ROLLED_BACK, True)


def after_down(journal: Journal, ledger: Path, cause: str, *lines: LogLine) -> Report:
    """The report that is made after `down`, if that was the end of the drain of old-1 and the log has these lines."""
    journal.take_lease("down", END)
    journal._db.execute("update log set text = ? where text like 'draining -> %'", f"draining -> drained: {cause}")
    for line in lines:
        journal.write_line(END - 1, 1, "runtime", line)
    journal._db.execute("delete from members")
    return report_of(journal, [ledger])


def test_a_report_that_is_made_after_down_proves_what_one_before_it_proves(journal: Journal, ledger: Path) -> None:
    found = after_down(journal, ledger, "nothing in flight")
    assert (found.conclusion, found.gaps) == ("clean", ())


CUT = LogLine(INTERRUPTION, "old-1: cut at the drain deadline: 1 upload.", "old-1")
LONG = LogLine(LONG_LIVED, "2 WebSockets cut", "old-1")


@pytest.mark.parametrize(
    ("cause", "lines", "conclusion"),
    [
        ("deadline passed, policy cut", [], "unproved"),
        ("deadline passed, policy cut", [CUT], "broken"),
        ("drain ended by an operator", [LONG], "unproved"),
        ("long-lived connections cut", [], "unproved"),
        ("long-lived connections cut", [LONG, LogLine("command", "stop: kill", "old-1")], "clean"),
        ("nothing in flight", [LogLine("command", "stop: kill", "old-1")], "unproved"),
        ("process ended", [], "unproved"),
        ("process ended", [LogLine(DEATH, "old-1 died", "old-1")], "clean"),
    ],
)
def test_after_down_a_drain_that_was_cut_is_unproved_unless_the_log_says_what_it_broke(
    journal: Journal, ledger: Path, cause: str, lines: list[LogLine], conclusion: str
) -> None:
    found = after_down(journal, ledger, cause, *lines)
    assert found.conclusion == conclusion
    assert (conclusion == "unproved") == any("no longer says which requests" in gap for gap in found.gaps)


def test_a_later_rollout_of_the_same_instances_is_no_fault_of_the_report(journal: Journal, report: Report) -> None:
    journal.take_lease("roll", END + 60)
    later = {"creating": START, "admitted": 1004.0, "leaving": END + 60, "gone": END + 70}
    journal.write_member("runtime", Member("new-3", "v2", 3, Phase.GONE, later, cut="1 GET"))
    found = with_journal(report, journal)
    assert found.untrue == []
    assert found.unknown == ["Rollout 1: cut and killed instances: the journal no longer has them as they were."]


def test_an_unfinished_rollout_is_compared_as_far_as_it_cannot_change(journal: Journal, report: Report) -> None:
    unfinished = altered(report, lambda one: one.update(ended=None, outcome="unfinished"))
    found = with_journal(unfinished, journal)
    assert (found.untrue, found.unknown) == ([], ["Rollout 1: it was unfinished when the report was made."])
    assert with_journal(altered(unfinished, lambda one: one.update(from_template="v0")), journal).untrue


def test_without_a_journal_the_rollouts_cannot_be_checked(report: Report, ledger: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "ticket" / "evidence" / ledger.name
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_bytes(ledger.read_bytes())
    code, out = verify(report, elsewhere)
    assert (code, "its rollouts cannot be checked" in out) == (COULD_NOT, True)
    assert verify(report, elsewhere, "--state", str(tmp_path))[0] == DONE
    lost = elsewhere.with_name("lost")
    assert verify(report, elsewhere, "--state", str(lost))[0] == COULD_NOT
