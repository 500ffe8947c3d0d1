"""What a decision reads from the tier: its share, when its step ends, its fresh baseline, what holds its switch."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from tests.unit.rollout.fleets import fleet

from changeover.rollout.tier.context import Context, canary_step, fresh_baseline, holds_switch, share, step_ends
from changeover.rollout.tier.settings import CanaryStep, RolloutSettings
from changeover.rollout.tier.state import (
    Baking,
    Paused,
    Position,
    Prepared,
    Preparing,
    Rolling,
    Rollout,
    Stepping,
    TierState,
)

STEPS = (CanaryStep("pause", stay=30), CanaryStep("share", 5), CanaryStep("analyse", stay=60), CanaryStep("share", 50))
SETTINGS = RolloutSettings("web", 4, 1, 0, 1.0, 60.0, 600.0, False, "canary", STEPS, bake=100.0)
ROLLOUT = Rollout("v1", "canary", serial_before=4)


def at_step(index: int) -> TierState:
    return TierState("v2", Stepping(ROLLOUT, index, since=10.0))


@pytest.mark.parametrize(("step", "percent"), [(0, 0), (1, 5), (2, 5), (3, 50), (4, 100)])
def test_the_share_is_that_of_the_last_step_that_names_one(step: int, percent: int) -> None:
    assert share(SETTINGS, at_step(step)) == percent
    paused = TierState("v2", Paused("lunch", Stepping(ROLLOUT, step, since=10.0)))
    assert share(SETTINGS, paused) == percent


def test_outside_of_steps_all_of_the_traffic_is_the_goals() -> None:
    assert share(SETTINGS, TierState("v2")) == share(SETTINGS, TierState("v2", Rolling(ROLLOUT))) == 100


@pytest.mark.parametrize(
    ("position", "ends"),
    [
        (Stepping(ROLLOUT, 0, since=10.0), 40.0),
        (Stepping(ROLLOUT, 1, since=10.0), inf),
        (Stepping(ROLLOUT, 2, since=10.0), 70.0),
        (Stepping(ROLLOUT, 9, since=10.0), inf),
        (Baking(ROLLOUT, since=10.0), 110.0),
        (Rolling(ROLLOUT), inf),
    ],
)
def test_a_step_ends_by_time_only_where_it_has_one(position: Position, ends: float) -> None:
    assert step_ends(SETTINGS, TierState("v2", position)) == ends


def test_after_the_last_step_there_is_none() -> None:
    assert canary_step(SETTINGS, at_step(3)) == STEPS[3]
    assert canary_step(SETTINGS, at_step(4)) is None


def test_a_fresh_baseline_counts_old_instances_that_were_created_for_this_rollout_and_stay() -> None:
    wanted = replace(SETTINGS, fresh_baseline=True)
    members = fleet("v1 admitted", "v1 admitted", "v1 admitted", "v1 admitted", "v1 warming", "v1 draining", "v2 ready")
    assert fresh_baseline(wanted, replace(at_step(1), serial=7), members) == 1
    assert fresh_baseline(SETTINGS, replace(at_step(1), serial=7), members) is None
    assert fresh_baseline(wanted, TierState("v2", serial=7), members) is None


@pytest.mark.parametrize(
    ("position", "held"),
    [
        (Preparing(ROLLOUT), True),
        (Preparing(ROLLOUT, promoted=True), False),
        (Prepared(ROLLOUT), True),
        (Baking(ROLLOUT, since=0.0), False),
    ],
)
def test_only_a_switch_that_was_not_promoted_is_held(position: Position, held: bool) -> None:
    assert holds_switch(replace(SETTINGS, hold=True), TierState("v2", position)) is held
    assert not holds_switch(SETTINGS, TierState("v2", position))


def test_a_gate_holds_back_the_goal_and_keeps_warm_the_previous_template() -> None:
    members = fleet("v1 drained", "v2 ready")
    old, new = members
    gated = Context(SETTINGS, members, admit=False, warm=True)
    assert (gated.holds_back(at_step(1), old), gated.holds_back(at_step(1), new)) == (False, True)
    assert (gated.keeps_warm(at_step(1), old), gated.keeps_warm(at_step(1), new)) == (True, False)
    assert not Context(SETTINGS, members).holds_back(at_step(1), new)
