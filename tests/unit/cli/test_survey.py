"""What `status` shows of a chain: tiers, members, the share of a canary, and unknown where a count is unknown."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.unit.cli.standing import CHAIN, StandingChain, standing_chain

from changeover.cli.survey import in_flight
from changeover.engine.journal.records import LogLine
from changeover.model.instance import InFlight, Upload
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.state import Rolling, Rollout, State, Stepping, TierState

CANARY = CHAIN.replace(
    "  - name: runtime\n    kind: app\n    size: 2\n",
    "  - name: runtime\n    kind: app\n    size: 2\n"
    "    update: {strategy: canary, steps: [{set_weight: 50}, {pause: until-promoted}]}\n",
)


def record(chain: StandingChain, state: State, *members: Member) -> None:
    with chain.controlled("roll") as journal:
        tier = TierState("v2", state, serial=len(members))
        journal.write_step(time.time(), "runtime", tier, members, [LogLine("note", "here")])


def member(serial: int, template: str, phase: Phase, deadline: float | None = None) -> Member:
    name = f"runtime-{template}-{serial}"
    return Member(name, template, serial, phase, {phase: 1.0}, deadline=deadline)


def test_a_tier_has_its_goal_and_status_and_an_instance_without_a_process_does_not_serve(chain: StandingChain) -> None:
    record(chain, Rolling(Rollout("v1")), member(1, "v1", Phase.ADMITTED), member(2, "v2", Phase.WARMING))
    edge, runtime = chain.run("status", "--json").json["tiers"]
    assert (runtime["template"], runtime["status"], runtime["serving"]) == ("v2", "rolling", 0)
    assert (edge["template"], edge["status"], edge["serving"]) == (None, None, 0)


def test_an_instance_without_a_record_has_no_address_and_unknown_counts(chain: StandingChain) -> None:
    record(chain, Rolling(Rollout("v1")), member(1, "v1", Phase.ADMITTED))
    (instance,) = chain.run("status", "--json").json["instances"]
    assert (instance["name"], instance["phase"], instance["template"]) == ("runtime-v1-1", "dead", "v1")
    assert (instance["serving"], instance["reason"]) == (False, "there is no record of its process")
    assert (instance["pid"], instance["address"], instance["in_flight"]) == (None, None, None)


def test_only_a_draining_instance_has_time_left_and_never_less_than_none(chain: StandingChain) -> None:
    record(
        chain,
        Rolling(Rollout("v1")),
        member(1, "v1", Phase.DRAINING, deadline=time.time() + 100),
        member(2, "v1", Phase.DRAINING, deadline=1.0),
        member(3, "v1", Phase.DRAINED, deadline=time.time() + 100),
    )
    left = [one["drain_seconds_left"] for one in chain.run("status", "--json").json["instances"]]
    assert 90 < left[0] <= 100
    assert left[1:] == [0.0, None]


@pytest.mark.parametrize(("step", "share"), [(0, 50), (2, None)])
def test_the_share_of_a_canary_is_shown_while_it_steps(tmp_path: Path, step: int, share: int | None) -> None:
    chain = standing_chain(tmp_path, CANARY)
    stepping = Stepping(Rollout("v1", "canary"), step, 1.0)
    record(chain, stepping, member(1, "v1", Phase.ADMITTED), member(2, "v2", Phase.ADMITTED))
    _, runtime = chain.run("status", "--json").json["tiers"]
    if share is None:
        assert runtime["canary_share"] is None
    else:
        assert runtime["canary_share"]["target_percent"] == share
        assert runtime["canary_share"]["actual_percent"] == 50.0


def test_a_chain_that_is_down_has_no_instances(chain: StandingChain) -> None:
    with chain.controlled("down") as journal:
        journal.clear_tiers(time.time())
    status = chain.run("status", "--json").json
    assert (status["up"], status["edge_url"], status["instances"]) == (False, None, [])
    assert (status["state"], status["findings"]) == ("down", ["The chain is down."])


def test_unknown_counts_differ_from_none_in_flight() -> None:
    assert in_flight(None) is None
    assert in_flight(InFlight(0, 0)) == {"requests": 0, "connections": 0, "uploads": [], "bytes_left": 0}
    busy = in_flight(InFlight(1, 2, (Upload(5, 20, 1.5),)))
    assert busy is not None
    assert busy["uploads"] == [{"received": 5, "expected": 20, "age_seconds": 1.5}]
    assert busy["bytes_left"] == 15
