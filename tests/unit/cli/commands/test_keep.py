"""When the keeper ends by itself. What it replaces: tests/unit/engine and tests/chain/test_deaths.py."""

from __future__ import annotations

from pathlib import Path

from tests.unit.cli.standing import ON_GOOGLE, StandingChain, standing_chain

from changeover.cli.exits import DONE


def test_without_a_chain_the_keeper_ends(tmp_path: Path) -> None:
    assert StandingChain(tmp_path).run("keep").code == DONE


def test_the_keeper_of_a_chain_that_is_down_ends(chain: StandingChain) -> None:
    chain.run("down")
    assert chain.run("keep").code == DONE


def test_a_chain_on_google_cloud_gets_no_keeper_beside_its_groups(tmp_path: Path) -> None:
    ended = standing_chain(tmp_path, ON_GOOGLE).run("keep")
    assert (ended.code, "its platform replaces instances that die" in ended.err + ended.out) == (DONE, True)
