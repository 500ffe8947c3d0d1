"""What `plan` refuses, and what it exits with. Plans of running chains: tests/chain."""

from __future__ import annotations

import time

from tests.unit.cli.standing import StandingChain

from changeover.cli.exits import COULD_NOT, DONE, WORK_TO_DO
from changeover.engine.journal.records import LogLine
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.state import TierState


def at_rest(chain: StandingChain, tier: str) -> None:
    """The tier serves from v1, as far as the journal knows."""
    members = [Member(f"{tier}-v1-{n}", "v1", n, Phase.ADMITTED, {"created": 1.0, "admitted": 2.0}) for n in (1, 2)]
    with chain.controlled("up") as journal:
        journal.write_step(time.time(), tier, TierState("v1", serial=2), members, [LogLine("note", "here")])


def test_without_a_target_nothing_is_planned(chain: StandingChain) -> None:
    refused = chain.run("plan")
    assert refused.code == COULD_NOT
    assert "error:" in refused.err


def test_a_template_that_does_not_exist_is_refused_with_those_that_do(chain: StandingChain) -> None:
    refused = chain.run("plan", "runtime", "--to", "v9")
    assert refused.code == COULD_NOT
    assert "tier runtime has no template v9" in refused.err
    assert "v1, v2" in refused.err


def test_where_there_is_something_to_do_the_plan_is_saved_for_roll(chain: StandingChain) -> None:
    at_rest(chain, "runtime")
    made = chain.run("plan", "runtime", "--to", "v2", "--json")
    assert made.code == WORK_TO_DO
    assert (chain.state / "plans" / f"{made.json['id']}.json").exists()
    assert made.json["targets"] == {"runtime": "v2"}


def test_where_there_is_nothing_to_do_no_plan_is_saved(chain: StandingChain) -> None:
    at_rest(chain, "runtime")
    made = chain.run("plan", "runtime", "--to", "v1")
    assert made.code == DONE
    assert "runtime already runs v1. Nothing to do." in " ".join(made.out.split())
    assert not (chain.state / "plans").exists()
