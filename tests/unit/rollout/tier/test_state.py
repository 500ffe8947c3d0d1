"""What a tier's state answers, whether or not the rollout is stopped."""

from __future__ import annotations

import pytest

from changeover.rollout.tier.state import (
    AwaitingPermission,
    Failed,
    Forward,
    Paused,
    Resting,
    Rolling,
    Rollout,
    State,
    Stepping,
    TierState,
    Undoing,
    with_rollout,
)

ROLLOUT = Rollout("v1", "canary")
POSITION = Stepping(ROLLOUT, 1, 5.0)
AWAITING = AwaitingPermission("set weight 50 %", "", POSITION)
STOPPED = [AWAITING, Paused("lunch", POSITION), Paused("lunch", AWAITING)]


@pytest.mark.parametrize("state", STOPPED)
def test_a_stopped_rollout_keeps_its_position_and_its_way_back(state: State) -> None:
    tier = TierState("v2", state)
    assert (tier.position, tier.rollout, tier.previous, tier.stopped, tier.moving) == (
        POSITION,
        ROLLOUT,
        "v1",
        True,
        True,
    )


@pytest.mark.parametrize("state", [Resting(), Undoing("errors"), Failed("no start")])
def test_only_a_rollout_on_its_way_forward_has_a_position(state: State) -> None:
    tier = TierState("v2", state)
    assert (tier.forward, tier.position, tier.rollout, tier.previous, tier.stopped) == (None, None, None, None, False)


def test_an_undo_moves_the_tier_and_a_failure_does_not() -> None:
    assert TierState("v1", Undoing("errors")).moving
    assert not TierState("v1", Failed("no start")).moving


def test_the_permission_that_is_awaited_is_found_under_a_pause_too() -> None:
    assert TierState("v2", AWAITING).awaiting is AWAITING
    assert TierState("v2", Paused("lunch", AWAITING)).awaiting is AWAITING
    assert TierState("v2", Paused("lunch", POSITION)).awaiting is None


def test_only_a_pause_has_a_reason() -> None:
    assert TierState("v2", Paused("lunch", POSITION)).paused == "lunch"
    assert TierState("v2", AWAITING).paused == ""


@pytest.mark.parametrize("state", [Rolling(ROLLOUT), POSITION, *STOPPED])
def test_facts_of_the_rollout_are_replaced_however_deep_they_lie(state: Forward) -> None:
    other = Rollout("v1", "canary", deaths=1)
    changed = with_rollout(state, other)
    assert changed.rollout == other
    assert type(changed) is type(state)
