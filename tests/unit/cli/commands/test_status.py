from __future__ import annotations

import os
from pathlib import Path

from tests.unit.cli.standing import StandingChain

from changeover.cli.commands.status import NOTHING_STARTED
from changeover.cli.exits import COULD_NOT, DONE


def test_where_no_chain_was_started_status_prints_the_same_fields_without_values(
    chain: StandingChain, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    nothing = StandingChain(tmp_path / "empty").run("status", "--json")
    assert (nothing.code, nothing.json) == (DONE, NOTHING_STARTED)
    assert chain.run("status", "--json").json.keys() == NOTHING_STARTED.keys()


def test_status_names_the_active_command_and_what_is_missing(chain: StandingChain) -> None:
    with chain.controlled("roll runtime to v2"):
        status = chain.run("status", "--json").json
        printed = chain.run("status").out
    assert status["active_command"] == {"pid": os.getpid(), "command": "roll runtime to v2"}
    assert (status["up"], status["load_balancer_running"], status["keeper_pid"]) == (True, False, None)
    assert f"active: roll runtime to v2 (pid {os.getpid()})" in printed
    assert "The load balancer is down." in printed
    assert "No keeper is running" not in printed  # the active command replaces what dies
    assert "No keeper is running: dead instances are not replaced" in chain.run("status").out


def test_with_check_the_exit_code_is_the_state_of_the_chain(chain: StandingChain, tmp_path: Path) -> None:
    assert chain.run("status", "--json").code == DONE
    down = chain.run("status", "--check", "--json")
    assert (down.code, down.json["state"]) == (COULD_NOT, "down")
    (tmp_path / "empty").mkdir()
    assert StandingChain(tmp_path / "empty").run("status", "--check").code == COULD_NOT
