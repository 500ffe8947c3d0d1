"""When `wait` ends without the end of a rollout. Rollouts that end: tests/chain/test_unattended.py."""

from __future__ import annotations

import pytest
from tests.unit.cli.standing import StandingChain

from changeover.cli.commands import wait as command
from changeover.cli.exits import COULD_NOT, DONE, INTERRUPTED, ROLLED_BACK, UNFINISHED
from changeover.engine.journal.journal import Journal
from changeover.engine.journal.records import INTERRUPTION, LogLine


def begin(journal: Journal) -> int:
    number = journal.begin_release(1.0, {"runtime": "v2"}, {"runtime": "v1"})
    journal.begin_rollout(1.0, "runtime", "v1", "v2")
    return number


def test_where_nothing_was_ever_rolled_there_is_nothing_to_wait_for(chain: StandingChain) -> None:
    waited = chain.run("wait", "--json")
    assert (waited.code, waited.json) == (DONE, {"outcome": "nothing to do", "rolls": []})


def test_without_a_journal_the_folder_is_named(chain: StandingChain) -> None:
    assert StandingChain(chain.folder / "elsewhere").run("wait").code == COULD_NOT


def test_the_exit_code_is_that_of_the_rollout(chain: StandingChain) -> None:
    with chain.controlled("roll") as journal:
        number = begin(journal)
        journal.end_rollout(1, 9.0, "undone", "guard: errors")
        journal.end_release(number, 9.0, "undone", "guard: errors")
    waited = chain.run("wait", "--json")
    assert (waited.code, waited.json["outcome"], waited.json["reason"]) == (ROLLED_BACK, "undone", "guard: errors")


def test_a_rollout_that_does_not_end_in_time_goes_on(chain: StandingChain) -> None:
    with chain.controlled("roll") as journal:
        begin(journal)
        waited = chain.run("wait", "--timeout", "100ms")
    assert waited.code == UNFINISHED
    assert "the rollout has not ended within 0.1 s It goes on." in waited.err


def test_a_rollout_that_has_lost_its_controller_is_named(chain: StandingChain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "WITHOUT_CONTROLLER", 0.0)
    with chain.controlled("roll") as journal:
        begin(journal)
    waited = chain.run("wait")
    assert waited.code == UNFINISHED
    assert "(runtime to v2) has no controller: the command that controlled it has ended" in waited.err
    assert "`changeover resume`" in waited.err


def test_a_rollout_during_which_requests_broke_ends_with_3(chain: StandingChain) -> None:
    with chain.controlled("roll") as journal:
        number = begin(journal)
        journal.write_line(5.0, 1, "runtime", LogLine(INTERRUPTION, "The load balancer ended."))
        journal.end_rollout(1, 9.0, "completed", "")
        journal.end_release(number, 9.0, "completed", "")
    waited = chain.run("wait", "--json")
    assert (waited.code, waited.json["outcome"]) == (INTERRUPTED, "completed")


def test_the_rollout_that_ended_is_reported(chain: StandingChain) -> None:
    page, markdown = chain.folder / "page.html", chain.folder / "summary.md"
    with chain.controlled("roll") as journal:
        number = begin(journal)
        journal.end_rollout(1, 9.0, "undone", "guard: errors")
        journal.end_release(number, 9.0, "undone", "guard: errors")
    waited = chain.run("wait", "--report", page, "--summary", markdown)
    assert waited.code == ROLLED_BACK
    assert "guard: errors" in page.read_text()
    assert "Not proved" in markdown.read_text()
    assert chain.run("wait", "--report", chain.folder / "no" / "folder" / "x").code == ROLLED_BACK


def test_a_report_that_cannot_be_written_after_a_completed_rollout_is_exit_code_2(chain: StandingChain) -> None:
    with chain.controlled("roll") as journal:
        number = begin(journal)
        journal.end_rollout(1, 9.0, "completed", "")
        journal.end_release(number, 9.0, "completed", "")
    refused = chain.run("wait", "--report", "/proc/page.html")
    assert (refused.code, "The report was not written" in refused.err) == (COULD_NOT, True)
