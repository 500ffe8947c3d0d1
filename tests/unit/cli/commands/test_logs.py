"""What is printed of the logs of a chain, and what is refused. Their order is in unit/logs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.standing import StandingChain
from tests.unit.json_page import insist

from changeover.cli.exits import COULD_NOT, DONE
from changeover.cli.rendering.logs import as_text
from changeover.engine.journal.records import LogLine
from changeover.logs.entries import Entry
from changeover.rollout.tier.state import TierState


@pytest.fixture
def logged(chain: StandingChain) -> StandingChain:
    """A chain whose instance was created at 1000, and became ready at 1002."""
    with chain.controlled("roll") as journal:
        for at, kind, text in ((1000.0, "command", "create instance: template v2"), (1002.0, "phase", "became ready")):
            journal.write_step(at, "runtime", TierState("v2"), (), [LogLine(kind, text, "runtime-v2-1")])
    folder = chain.state / "instances" / "runtime-v2-1"
    folder.mkdir(parents=True)
    (folder / "log").write_text("1970-01-01T00:16:41Z listening\n")
    return chain


def test_logs_are_printed_with_their_times_and_sources(logged: StandingChain) -> None:
    done = logged.run("logs")
    assert done.code == DONE
    assert done.out == (
        "1970-01-01T00:16:41.000Z  runtime-v2-1     1970-01-01T00:16:41Z listening\n"
        "1970-01-01T00:16:42.000Z  controller       runtime-v2-1: became ready\n"
    )


def test_as_json_each_line_is_an_object_with_the_documented_keys(logged: StandingChain) -> None:
    own, decided = [json.loads(line) for line in logged.run("logs", "runtime-v2-1", "--json").out.splitlines()]
    insist("logs", own, decided)
    assert (own["source"], own["level"], own["event"]) == ("runtime-v2-1", None, "output")
    assert (decided["source"], decided["level"], decided["event"]) == ("controller", "info", "phase")
    assert {one["instance"] for one in (own, decided)} == {"runtime-v2-1"}


def test_a_name_that_has_no_log_is_refused_with_the_names_that_have(logged: StandingChain) -> None:
    refused = logged.run("logs", "runtime-v2-9")
    assert (refused.code, refused.out) == (COULD_NOT, "")
    assert "no instance, tier or part of this chain is called runtime-v2-9" in refused.err
    assert "There are: controller, haproxy, keeper, roll, runtime, runtime-v2-1." in refused.err


def test_without_a_journal_the_folder_is_named(tmp_path: Path) -> None:
    refused = StandingChain(tmp_path).run("logs")
    assert refused.code == COULD_NOT
    assert f"no journal in {tmp_path / 'state'}" in refused.err


def test_the_logs_of_vms_are_said_to_be_elsewhere(logged: StandingChain) -> None:
    text = (Path(__file__).parents[4] / "examples/03-google-cloud/chain.yaml").read_text()
    (logged.state / "chain.yaml").write_text(text)
    done = logged.run("logs", "controller")
    assert done.code == DONE
    assert "became ready" in done.out
    assert "their logs are not on this machine" in done.err
    assert "gcloud logging read" in done.err


def test_a_server_can_forge_no_line_and_move_no_cursor() -> None:
    forged = "  indented \x1b[2Jcleared\r1970-01-01T00:00:00.000Z  controller       all is well"
    printed = as_text(Entry(1.0, 1.0, "runtime-v2-1", forged, instance="runtime-v2-1"), colours=False)
    first, second = printed.splitlines()
    assert first.endswith("runtime-v2-1       indented cleared")
    assert second.startswith(" " * 40)
    assert "\x1b" not in printed


def test_on_a_terminal_each_source_has_a_colour_and_a_warning_stands_out() -> None:
    sources = [as_text(Entry(1.0, None, name, "x"), colours=True) for name in ("edge-v1-1", "edge-v1-2", "edge-v1-1")]
    assert sources[0] == sources[2] != sources[1]
    assert "\x1b[31mbroken" in as_text(Entry(1.0, 1.0, "controller", "broken", level="warning"), colours=True)
