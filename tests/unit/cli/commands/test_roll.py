"""What `roll` refuses before it moves an instance. Rolls: tests/chain."""

from __future__ import annotations

import os

import pytest
from tests.unit.cli.standing import StandingChain

from changeover.cli.exits import COULD_NOT


@pytest.mark.parametrize(
    "words",
    [("edge",), ("--to", "v2"), ("--all",), ("--release", "r.yaml"), ("--strategy", "canary"), ("--restart",)],
    ids=" ".join,
)
def test_a_plan_cannot_be_combined_with_a_target(chain: StandingChain, words: tuple[str, ...]) -> None:
    refused = chain.run("roll", "--plan", "0123456789ab", *words)
    assert refused.code == COULD_NOT
    assert "--plan cannot be combined with TIER, --to, --all, --release or --strategy" in refused.err


def test_an_unknown_plan_is_refused(chain: StandingChain) -> None:
    refused = chain.run("roll", "--plan", "0123456789ab")
    assert refused.code == COULD_NOT
    assert "0123456789ab" in refused.err


def test_a_chain_that_another_command_controls_is_refused_with_its_process(chain: StandingChain) -> None:
    with chain.controlled("roll edge to v2"):
        refused = chain.run("roll", "runtime", "--to", "v2")
    assert refused.code == COULD_NOT
    assert "roll edge to v2" in refused.err
    assert str(os.getpid()) in refused.err
