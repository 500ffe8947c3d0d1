"""Tiers as the journal stores them."""

from __future__ import annotations

import json

import pytest

from changeover.engine.journal.tier_state import dump_tier, load_tier
from changeover.rollout.tier.state import (
    AwaitingPermission,
    Baking,
    Failed,
    Finishing,
    Holding,
    Paused,
    Position,
    Prepared,
    Preparing,
    Resting,
    Rolling,
    Rollout,
    State,
    Stepping,
    Switching,
    TierState,
    Undoing,
)

CANARY = Rollout("v1", "canary", serial_before=3, admissions=2, deaths=1)
BLUE_GREEN = Rollout("v1", "blue-green", serial_before=3, admissions=2, deaths=1)
POSITIONS: list[Position] = [
    Rolling(Rollout(None)),
    Rolling(Rollout("v1", "rolling", 3, 2, 1, 4.5)),
    Stepping(CANARY, 2, 7.0),
    Holding(CANARY, 3, 8.0),
    Preparing(BLUE_GREEN, announced=True, promoted=True),
    Prepared(BLUE_GREEN),
    Switching(BLUE_GREEN),
    Baking(BLUE_GREEN, 9.0),
    Finishing(BLUE_GREEN),
]
STATES: list[State] = [
    Resting(),
    Undoing("errors went up", 3),
    Failed("did not start"),
    *POSITIONS,
    *(AwaitingPermission("next", "last", position) for position in POSITIONS),
    *(Paused("look first", position) for position in POSITIONS),
    *(Paused("look first", AwaitingPermission("next", "last", position)) for position in POSITIONS),
]


@pytest.mark.parametrize("state", STATES, ids=repr)
def test_every_state_is_read_as_it_was_written(state: State) -> None:
    tier = TierState("v2", state, 7, 2, 5.5, 6.5, "v0", "v9")
    assert load_tier(dump_tier(tier)) == tier


def test_an_unknown_state_is_refused() -> None:
    stored = json.loads(dump_tier(TierState("v2", Rolling(CANARY))))
    stored["state"]["is"] = "dancing"
    with pytest.raises(ValueError, match="unknown tier state: dancing"):
        load_tier(json.dumps(stored))
