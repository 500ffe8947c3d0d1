"""When the keeper ends by itself. What it replaces: tests/unit/engine and tests/chain/test_deaths.py."""

from __future__ import annotations

from pathlib import Path

from tests.unit.cli.standing import StandingChain

from changeover.cli.exits import DONE


def test_without_a_chain_the_keeper_ends(tmp_path: Path) -> None:
    assert StandingChain(tmp_path).run("keep").code == DONE


def test_the_keeper_of_a_chain_that_is_down_ends(chain: StandingChain) -> None:
    chain.run("down")
    assert chain.run("keep").code == DONE
