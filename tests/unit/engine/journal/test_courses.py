"""A tier as format 1 stored it becomes the one named state that it stood for."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from changeover.engine.journal.courses import tier_of
from changeover.engine.journal.migrations import with_longest_drain
from changeover.engine.journal.tier_state import dump_tier, load_tier
from changeover.rollout.tier.state import (
    AwaitingPermission,
    Baking,
    Failed,
    Finishing,
    Paused,
    Preparing,
    Resting,
    Rolling,
    Rollout,
    State,
    Stepping,
    TierState,
    Undoing,
)

CANARY = Rollout("v1", "canary", serial_before=3, admissions=2, deaths=1)
BLUE_GREEN = Rollout("v1", "blue-green", serial_before=3, admissions=2, deaths=1)
RESTING: dict[str, Any] = {
    "goal": "v2",
    "previous": None,
    "status": "resting",
    "reason": "",
    "serial": 7,
    "failures": 2,
    "admitted_at": 5.5,
    "not_before": 6.5,
    "deaths": 1,
    "admissions": 2,
    "before_first": 3,
    "strategy": "rolling",
    "step": 0,
    "step_at": 9.0,
    "asked": False,
    "promoted": False,
    "asking": "",
    "after": "",
    "paused": "",
    "before": "v0",
    "tried": "v9",
}


def migrated(**course: Any) -> TierState:
    return load_tier(json.dumps(with_longest_drain(tier_of({**RESTING, **course}))))


def rolling(strategy: str, **course: Any) -> State:
    return migrated(status="rolling", previous="v1", strategy=strategy, **course).state


def test_what_all_states_share_is_kept() -> None:
    assert migrated() == TierState("v2", Resting(), 7, 2, 5.5, 6.5, "v0", "v9")


def test_tiers_that_are_not_on_their_way() -> None:
    assert migrated(status="undoing", reason="errors went up").state == Undoing("errors went up", 2)
    assert migrated(status="failed", reason="did not start").state == Failed("did not start")


def test_a_first_start_has_no_way_back() -> None:
    state = migrated(status="rolling", strategy="rolling").state
    assert state == Rolling(Rollout(None, "rolling", 3, 2, 1))


@pytest.mark.parametrize("step", range(4))
def test_a_canary_is_at_its_step(step: int) -> None:
    assert rolling("canary", step=step) == Stepping(CANARY, step, 9.0)


@pytest.mark.parametrize(("asked", "promoted"), [(False, False), (False, True), (True, False), (True, True)])
def test_blue_green_is_before_its_switch(asked: bool, promoted: bool) -> None:
    assert rolling("blue-green", asked=asked, promoted=promoted) == Preparing(BLUE_GREEN, asked, promoted)


def test_blue_green_bakes_or_finishes() -> None:
    assert rolling("blue-green", step=1, asked=True) == Baking(BLUE_GREEN, 9.0)
    assert rolling("blue-green", step=2, asked=True) == Finishing(BLUE_GREEN)


@pytest.mark.parametrize("paused", ["", "look first"])
@pytest.mark.parametrize("asking", ["", "next"])
@pytest.mark.parametrize("strategy", ["rolling", "canary", "blue-green"])
@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_stopped_rollout_stops_where_it_was(paused: str, asking: str, strategy: str, step: int) -> None:
    position = rolling(strategy, step=step)
    state = rolling(strategy, step=step, paused=paused, asking=asking, after="last")
    if paused:
        assert isinstance(state, Paused)
        assert state.reason == paused
        state = state.resume_to
    if asking:
        assert isinstance(state, AwaitingPermission)
        assert (state.step, state.done) == ("next", "last")
        state = state.resume_to
    assert state == position


STATUSES = ("resting", "rolling", "undoing", "failed")


def test_every_combination_that_could_be_stored_is_read() -> None:
    values: dict[str, tuple[Any, ...]] = {
        "status": STATUSES,
        "previous": (None, "v1", "v2"),
        "strategy": ("rolling", "canary", "blue-green"),
        "step": (0, 1, 2, 9),
        "asked": (False, True),
        "promoted": (False, True),
        "asking": ("", "next"),
        "paused": ("", "look first"),
    }
    for chosen in itertools.product(*values.values()):
        tier = migrated(**dict(zip(values, chosen, strict=True)))
        assert load_tier(dump_tier(tier)) == tier
        if chosen[0] == "rolling":
            assert (tier.forward is not None, tier.previous) == (True, chosen[1])
