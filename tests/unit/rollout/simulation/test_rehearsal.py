"""What a rollout is going to do, as the plan tells it beforehand. Times are seconds from its beginning."""

from __future__ import annotations

import sys
from math import inf
from types import FrameType

import pytest

from changeover.rollout.events import Started
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.simulation.rehearsal import Rehearsal, rehearse
from changeover.rollout.tier.settings import CanaryStep, RolloutSettings
from changeover.rollout.tier.state import TierState

NOW = 1_000_000.0


def rules(**changed: object) -> RolloutSettings:
    usual: dict[str, object] = {
        "tier": "web",
        "size": 2,
        "surge": 1,
        "unavailable": 0,
        "min_ready": 1.0,
        "progress_deadline": 60.0,
        "drain_deadline": 100.0,
        "cut_at_deadline": False,
    }
    return RolloutSettings(**{**usual, **changed})  # type: ignore[arg-type]


def planned(by: RolloutSettings, *, drains: dict[str, float] | None = None, start: float = 5.0) -> Rehearsal:
    """A tier at rest on v1 that is to go to v2. `drains`: seconds for an instance to get empty; the others are."""
    at = {"created": NOW - 100, Phase.READY: NOW - 99, Phase.ADMITTED: NOW - 98}
    fleet = Fleet(
        Member(f"web-v1-{n}", "v1", n, Phase.ADMITTED, times=dict(at), served=True) for n in range(1, by.size + 1)
    )
    course = TierState("v1", serial=by.size)
    waits = drains or {}
    return rehearse(by, course, fleet, Started(NOW, "v2"), start=start, drain=lambda name, _: waits.get(name, 0.0))


def told(rehearsal: Rehearsal) -> list[str]:
    """`at what instance text`, without the words of the notes."""
    return [
        " ".join(filter(None, (f"{one.at:g}", one.what, one.instance.removeprefix("web-"), one.text)))
        for one in rehearsal.planned
        if one.what != "note"
    ]


def test_a_plan_names_every_instance_and_every_time_of_the_rollout_to_come() -> None:
    plan = planned(rules(), drains={"web-v1-1": 30.0})
    assert told(plan) == [
        "0 create v2-3 v2",
        "6 admit v2-3",
        "6 drain v1-1",
        "36 stop v1-1",
        "36 create v2-4 v2",
        "42 admit v2-4",
        "42 drain v1-2",
        "42 stop v1-2",
        "42 finish completed",
    ]
    assert (plan.seconds, plan.lower_bound, plan.peak, plan.outcome) == (42.0, 12.0, 3, "completed")
    assert plan.leaves == {"web-v1-1": 6.0, "web-v1-2": 42.0}


def test_a_drain_that_is_cut_at_its_deadline_takes_no_longer_than_the_deadline() -> None:
    plan = planned(rules(size=1, drain_deadline=20.0, cut_at_deadline=True), drains={"web-v1-1": inf})
    assert "26 stop v1-1 at its drain deadline" in told(plan)


def test_a_canary_says_what_it_waits_for_and_takes_it_to_come_at_once() -> None:
    steps = (
        CanaryStep("share", share=50),
        CanaryStep("pause"),
        CanaryStep("pause", stay=30.0),
        CanaryStep("analyse", stay=60.0),
    )
    plan = planned(rules(strategy="canary", steps=steps))
    assert plan.outcome == "completed"
    assert plan.waits_for == ("an operator to promote step 2", "the guard at step 4, at most 60 s")
    assert [line for line in told(plan) if "step" in line] == [
        "0 step set weight 50 %",
        "6 step pause until promoted",
        "6 wait an operator to promote step 2",
        "6 step pause 30 s",
        "36 step analyse 60 s",
        "36 wait the guard at step 4, at most 60 s",
    ]
    assert plan.lower_bound == pytest.approx(plan.seconds) == 42.0


def test_blue_green_has_both_colours_at_once_and_bakes() -> None:
    plan = planned(rules(strategy="blue-green", bake=10.0))
    assert (plan.peak, plan.outcome) == (4, "completed")
    assert plan.seconds >= plan.lower_bound == 16.0
    assert plan.leaves.keys() == {"web-v1-1", "web-v1-2"}


def test_what_a_switch_waits_for_is_told_and_takes_no_time() -> None:
    plan = planned(rules(strategy="blue-green", bake=10.0, hold=True, ask_first=True))
    assert plan.waits_for == ("the hooks before step 1", "an operator to promote step 1")
    assert (plan.outcome, plan.seconds) == ("completed", 16.0)


def test_a_rollout_that_can_come_to_no_end_says_so() -> None:
    plan = planned(rules(size=1, drain_deadline=20.0), drains={"web-v1-1": inf})
    assert plan.outcome == "it never ends"


def test_what_an_instance_costs_to_plan_does_not_grow_with_those_that_drain_beside_it() -> None:
    def calls(size: int) -> float:
        counted = 0

        def count(frame: FrameType, event: str, _: object) -> None:
            nonlocal counted
            counted += event == "call"

        sys.setprofile(count)
        try:
            drains = {f"web-v1-{n}": 10.0 + n / size for n in range(1, size + 1)}
            assert planned(rules(size=size, surge=size // 4), drains=drains).outcome == "completed"
        finally:
            sys.setprofile(None)
        return counted / size

    assert calls(400) < 1.2 * calls(40)
