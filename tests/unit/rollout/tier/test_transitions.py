"""The table of a tier's states, as a table."""

from __future__ import annotations

from typing import get_args

import pytest

from changeover.rollout.tier.actions import STATUSES
from changeover.rollout.tier.state import (
    AwaitingPermission,
    Paused,
    Preparing,
    Resting,
    Rolling,
    Rollout,
    State,
    StateName,
    Stepping,
    TierState,
    Undoing,
)
from changeover.rollout.tier.transitions import (
    FORWARD,
    NAMES,
    ROWS,
    TABLE,
    WHERE_IT_STOPPED,
    StateCause,
    enter,
    enter_under_pause,
)

ROLLOUT = Rollout("v1", "canary")


def test_every_state_has_one_name_and_every_name_one_state() -> None:
    assert set(NAMES) == set(get_args(State))
    assert sorted(NAMES.values()) == sorted(StateName)


def test_every_state_has_a_status_for_operators() -> None:
    assert set(STATUSES) == set(StateName)


def test_no_row_contradicts_another() -> None:
    assert len(TABLE) == sum(len(sources) for sources, _, _ in ROWS)


def test_every_cause_moves_something() -> None:
    assert {cause for _, cause in TABLE} == set(StateCause)


def test_every_state_is_reached_from_rest_and_leads_back_to_it() -> None:
    follows: dict[StateName, set[StateName]] = {name: set() for name in StateName}
    for (source, _), target in TABLE.items():
        follows[source] |= set(FORWARD) if target == WHERE_IT_STOPPED else {StateName(target)}

    def reached(name: StateName) -> set[StateName]:
        found, new = {name}, [name]
        while new:
            new = [after for before in new for after in follows[before] if after not in found]
            found |= set(new)
        return found

    assert reached(StateName.RESTING) == set(StateName)
    assert all(StateName.RESTING in reached(name) for name in StateName)


@pytest.mark.parametrize("name", FORWARD)
def test_every_rollout_on_its_way_can_be_undone(name: StateName) -> None:
    assert TABLE[name, StateCause.TURNED_BACK] == StateName.UNDOING


def test_a_state_that_the_table_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="resting does not become undoing"):
        enter(TierState("v1"), StateCause.TURNED_BACK, Undoing("errors went up"))
    with pytest.raises(ValueError, match="rolling does not become preparing"):
        enter(TierState("v2", Rolling(ROLLOUT)), StateCause.ARRIVED, Preparing(ROLLOUT))


def test_a_stopped_rollout_goes_on_where_it_stopped_and_nowhere_else() -> None:
    position = Stepping(ROLLOUT, 1, 5.0)
    paused = TierState("v2", Paused("look first", AwaitingPermission("set weight 50 %", "", position)))
    awaiting = enter(paused, StateCause.RESUMED, AwaitingPermission("set weight 50 %", "", position))
    assert enter(awaiting, StateCause.ALLOWED, position).state == position
    with pytest.raises(ValueError, match="paused does not become rolling"):
        enter(paused, StateCause.RESUMED, Rolling(ROLLOUT))


def test_a_pause_stays_while_the_rollout_under_it_takes_a_row_of_the_table() -> None:
    position = Stepping(ROLLOUT, 1, 5.0)
    waiting = Paused("look first", AwaitingPermission("set weight 50 %", "", position))
    allowed = enter_under_pause(TierState("v2", waiting), StateCause.ALLOWED, position)
    assert allowed.state == Paused("look first", position)
    with pytest.raises(ValueError, match="stepping does not become stepping"):
        enter_under_pause(allowed, StateCause.ALLOWED, position)
    with pytest.raises(ValueError, match="awaiting_permission does not become rolling"):
        enter_under_pause(TierState("v2", waiting), StateCause.ALLOWED, Rolling(ROLLOUT))


def test_a_position_under_a_pause_is_found() -> None:
    position = Stepping(ROLLOUT, 1, 5.0)
    tier = TierState("v2", Paused("look first", AwaitingPermission("set weight 50 %", "", position)))
    assert (tier.position, tier.previous, tier.paused, tier.stopped) == (position, "v1", "look first", True)
    assert tier.awaiting is not None
    assert TierState("v1", Resting()).position is None
