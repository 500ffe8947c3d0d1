from __future__ import annotations

from pathlib import Path

from tests.unit.cli.standing import StandingChain

from changeover.cli.exits import COULD_NOT, DONE


def test_where_no_chain_was_started_down_stops_nothing(tmp_path: Path) -> None:
    done = StandingChain(tmp_path).run("down", "--json")
    assert (done.code, done.json) == (DONE, {"stopped": [], "killed": []})


def test_a_chain_without_processes_is_down_afterwards(chain: StandingChain) -> None:
    assert "Nothing to do." in chain.run("down").out
    assert chain.run("status", "--json").json["up"] is False


def test_a_chain_that_another_command_controls_stays_up(chain: StandingChain) -> None:
    with chain.controlled("roll runtime to v2"):
        refused = chain.run("down")
    assert refused.code == COULD_NOT
    assert "roll runtime to v2" in refused.err
    assert chain.run("status", "--json").json["up"] is True
