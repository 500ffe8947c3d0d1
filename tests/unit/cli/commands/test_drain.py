"""What `drain` refuses before it asks a controller. With one: tests/process/test_drain_now.py."""

from __future__ import annotations

from tests.unit.cli.standing import StandingChain

from changeover.cli.exits import COULD_NOT
from changeover.engine.journal.journal import Journal
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.state import TierState


def standing(journal: Journal) -> None:
    journal.write_step(1.0, "runtime", TierState("v1"), [Member("runtime-v1-1", "v1", 1, Phase.DRAINING)], [])


def test_without_now_nothing_is_cut(chain: StandingChain) -> None:
    refused = chain.run("drain", "runtime-v1-1")
    assert refused.code == COULD_NOT
    assert "drain needs --now" in refused.err


def test_an_unknown_instance_is_refused_with_those_that_drain(chain: StandingChain) -> None:
    assert "No instance drains." in chain.run("drain", "--now", "edge").err
    with chain.controlled("roll") as journal:
        standing(journal)
    refused = chain.run("drain", "--now", "edge")
    assert refused.code == COULD_NOT
    assert "there is no instance edge" in refused.err
    assert "Those that drain: runtime-v1-1." in refused.err


def test_without_a_controller_it_is_refused_with_the_way_to_one(chain: StandingChain) -> None:
    with chain.controlled("roll") as journal:
        standing(journal)
    refused = chain.run("drain", "--now", "runtime-v1-1")
    assert refused.code == COULD_NOT
    assert "no controller runs that drains runtime-v1-1" in refused.err
    assert "`changeover resume`" in refused.err
