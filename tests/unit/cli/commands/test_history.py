from __future__ import annotations

import json
from pathlib import Path

from tests.unit.cli.standing import StandingChain

from changeover.cli.exits import COULD_NOT, DONE
from changeover.engine.journal.records import LogLine
from changeover.kit.user import current_user
from changeover.report.page import DATA_END, DATA_START


def rolled(chain: StandingChain) -> int:
    """Write one undone rollout and one that is unfinished; returns the number of the first."""
    with chain.controlled("roll") as journal:
        row = journal.begin_rollout(1000.0, "runtime", "v1", "v2")
        journal.write_line(
            1002.5, row.id, "runtime", LogLine(instance="runtime-v2-3", kind="event", text="became ready [200]")
        )
        journal.end_rollout(row.id, 1090.0, "undone", "runtime-v2-3 was not ready")
        journal.begin_rollout(2000.0, "edge", "v1", "v2")
    return row.id


def test_without_a_journal_history_names_the_folder(tmp_path: Path) -> None:
    refused = StandingChain(tmp_path).run("history")
    assert refused.code == COULD_NOT
    assert f"no journal in {tmp_path / 'state'}" in refused.err


def test_a_chain_that_was_never_rolled_has_an_empty_history(chain: StandingChain) -> None:
    done = chain.run("history")
    assert (done.code, done.out) == (DONE, "No tier has been rolled.\n")


def test_history_lists_every_rollout_with_its_outcome(chain: StandingChain) -> None:
    rolled(chain)
    printed = " ".join(chain.run("history").out.split())
    by = f"{current_user()}: roll"
    assert f"runtime │ v1 │ v2 │ 1970-01-01 00:16:40 │ 1m30s │ {by} │ undone runtime-v2-3 was not ready" in printed
    assert f"edge │ v1 │ v2 │ 1970-01-01 00:33:20 │ - │ {by} │ unfinished: `changeover resume` continues it" in printed


def test_history_counts_the_instances_that_failed_in_a_rollout_and_since(chain: StandingChain) -> None:
    number = rolled(chain)
    with chain.controlled("heal") as journal:
        for at in (1010.0, 1500.0, 1600.0):
            line = LogLine("phase", "admitted -> failed: process ended", "runtime-v2-3")
            journal.write_line(at, number, "runtime", line)
    printed = chain.run("history")
    assert "(instances: 1 failed during it, 2 failed since)" in " ".join(printed.out.split())
    first = chain.run("history", "--json").json["rollouts"][0]
    assert (first["deaths"], first["deaths_since"]) == (1, 2)


def test_show_prints_the_log_of_one_rollout_with_seconds_from_its_start(chain: StandingChain) -> None:
    number = rolled(chain)
    printed = " ".join(chain.run("show", number).out.split())
    assert "runtime: v1 -> v2, started 1970-01-01 00:16:40 UTC: undone" in printed
    assert "2.50 │ runtime-v2-3 │ event │ became ready [200]" in printed


def test_a_rollout_that_does_not_exist_is_refused(chain: StandingChain) -> None:
    refused = chain.run("show", 7)
    assert refused.code == COULD_NOT
    assert "no rollout 7" in refused.err


def test_a_report_of_a_rollout_says_the_numbers_of_show_and_that_it_is_unproved(chain: StandingChain) -> None:
    number = rolled(chain)
    page = chain.folder / "report.html"
    shown = chain.run("show", number, "--html", page, "--json").json
    data = json.loads(page.read_text().partition(DATA_START)[2].partition(DATA_END)[0])
    (part,) = data["rollouts"]
    theirs = shown["rollout"]
    assert shown["report"] == str(page)
    assert (part["started"], part["ended"], part["outcome"], part["reason"], part["requested_by"]) == (
        theirs["started"],
        theirs["ended"],
        theirs["outcome"],
        theirs["reason"],
        theirs["requested_by"],
    )
    assert "Not proved" in chain.run("show", number, "--html", page).out


def test_a_ledger_without_a_report_is_refused(chain: StandingChain) -> None:
    number = rolled(chain)
    refused = chain.run("show", number, "--ledger", "ledger.jsonl")
    assert (refused.code, "--ledger needs --html" in refused.err) == (COULD_NOT, True)
