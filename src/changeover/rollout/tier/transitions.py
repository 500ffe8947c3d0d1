"""The one table by which the state of a tier changes.

Rule 1: a state is entered only by a row of TABLE; `enter` refuses everything else.
Rule 2: nothing here knows why a cause arose; `steps`, `requests` and `members.lifecycle` do.

The diagram in ARCHITECTURE.md is `mermaid()`, and a test keeps the two the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

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
    State,
    StateName,
    Stepping,
    Switching,
    TierState,
    Undoing,
)


class StateCause(StrEnum):
    """What moves a tier from one state to the next."""

    ROLL = "roll"
    ROLL_CANARY = "roll, canary"
    ROLL_BLUE_GREEN = "roll, blue-green"
    STEP_DONE = "step done"
    STEP_HOLDS = "the step waits for promote"
    STEPS_DONE = "no step left"
    COMPLETE = "new instances complete"
    HELD = "complete; waits for promote"
    NOT_HELD = "an instance is lost"
    SWITCHED = "all traffic switched"
    BAKED = "baked"
    PROMOTED = "promoted"
    FULLY_PROMOTED = "promoted --full"
    SETTINGS_CHANGED = "chain file changed"
    HOOKS_ASKED = "hooks are asked"
    ALLOWED = "hooks allow it"
    PAUSED = "paused"
    RESUMED = "resumed"
    TURNED_BACK = "aborted, guard failed, or too many failures"
    NOWHERE_BACK = "too many failures, no earlier template"
    SAME_TEMPLATE = "too many failures, same template"
    ARRIVED = "arrived"
    BARRED = "too many failures"


NAMES: Mapping[type[State], StateName] = MappingProxyType(
    {
        Resting: StateName.RESTING,
        Rolling: StateName.ROLLING,
        Stepping: StateName.STEPPING,
        Holding: StateName.HOLDING,
        Preparing: StateName.PREPARING,
        Prepared: StateName.PREPARED,
        Switching: StateName.SWITCHING,
        Baking: StateName.BAKING,
        Finishing: StateName.FINISHING,
        AwaitingPermission: StateName.AWAITING_PERMISSION,
        Paused: StateName.PAUSED,
        Undoing: StateName.UNDOING,
        Failed: StateName.FAILED,
    }
)

WHERE_IT_STOPPED: Final = "where_it_stopped"
"""A row leads back to the state that a stopped one holds: its `resume_to`."""

N, C = StateName, StateCause
FORWARD: tuple[StateName, ...] = tuple(n for n in N if n not in (N.RESTING, N.UNDOING, N.FAILED))
"""States of a rollout on its way to its goal."""
GOING: tuple[StateName, ...] = tuple(n for n in FORWARD if n is not N.PAUSED)

Destination = StateName | str

ROWS: tuple[tuple[tuple[StateName, ...], StateCause, Destination], ...] = (
    # A roll begins from wherever the tier is: it may be asked for in the middle of another one.
    ((N.RESTING, N.UNDOING, N.FAILED), C.ROLL, N.ROLLING),
    ((N.RESTING, N.UNDOING, N.FAILED), C.ROLL_CANARY, N.STEPPING),
    ((N.RESTING, N.UNDOING, N.FAILED), C.ROLL_BLUE_GREEN, N.PREPARING),
    (FORWARD, C.ROLL, N.ROLLING),
    (FORWARD, C.ROLL_CANARY, N.STEPPING),
    (FORWARD, C.ROLL_BLUE_GREEN, N.PREPARING),
    # Canary.
    ((N.STEPPING,), C.STEP_DONE, N.STEPPING),
    ((N.STEPPING,), C.STEP_HOLDS, N.HOLDING),
    ((N.STEPPING, N.HOLDING), C.PROMOTED, N.STEPPING),
    ((N.STEPPING, N.HOLDING), C.FULLY_PROMOTED, N.ROLLING),
    ((N.STEPPING,), C.STEPS_DONE, N.ROLLING),
    ((N.HOLDING,), C.SETTINGS_CHANGED, N.STEPPING),
    # Blue-green.
    ((N.PREPARING,), C.COMPLETE, N.SWITCHING),
    ((N.PREPARING,), C.HELD, N.PREPARED),
    ((N.PREPARED,), C.NOT_HELD, N.PREPARING),
    ((N.PREPARED,), C.PROMOTED, N.SWITCHING),
    ((N.PREPARED, N.SWITCHING), C.SWITCHED, N.BAKING),
    ((N.BAKING,), C.BAKED, N.FINISHING),
    ((N.BAKING,), C.PROMOTED, N.FINISHING),
    ((N.PREPARING, N.PREPARED, N.SWITCHING, N.BAKING), C.FULLY_PROMOTED, N.FINISHING),
    # Stops on the way.
    ((N.STEPPING, N.HOLDING, N.PREPARING), C.HOOKS_ASKED, N.AWAITING_PERMISSION),
    ((N.AWAITING_PERMISSION,), C.ALLOWED, WHERE_IT_STOPPED),
    ((N.AWAITING_PERMISSION, N.PAUSED), C.PROMOTED, WHERE_IT_STOPPED),
    ((N.AWAITING_PERMISSION, N.PAUSED), C.FULLY_PROMOTED, WHERE_IT_STOPPED),
    (GOING, C.PAUSED, N.PAUSED),
    ((N.PAUSED,), C.RESUMED, WHERE_IT_STOPPED),
    # Ends.
    (FORWARD, C.ARRIVED, N.RESTING),
    (FORWARD, C.SAME_TEMPLATE, N.RESTING),
    (FORWARD, C.TURNED_BACK, N.UNDOING),
    (FORWARD, C.NOWHERE_BACK, N.FAILED),
    ((N.UNDOING,), C.ARRIVED, N.RESTING),
    ((N.UNDOING,), C.BARRED, N.RESTING),
)

TABLE: Mapping[tuple[StateName, StateCause], Destination] = MappingProxyType(
    {(source, cause): target for sources, cause, target in ROWS for source in sources}
)


def name_of(state: State) -> StateName:
    return NAMES[type(state)]


def enter(tier: TierState, cause: StateCause, state: State) -> TierState:
    """The tier in its next state. Raises ValueError when the table has no such row: a fault of the core."""
    before = tier.state
    target = TABLE.get((name_of(before), cause))
    if target == WHERE_IT_STOPPED:
        assert isinstance(before, Paused | AwaitingPermission)
        target = name_of(before.resume_to)
    if target != name_of(state):
        raise ValueError(f"{name_of(before)} does not become {name_of(state)} by {cause!r}")
    return replace(tier, state=state)


def enter_under_pause(tier: TierState, cause: StateCause, state: Position) -> TierState:
    """The paused tier, whose rollout will go on from the next state. The same rows apply as without the pause."""
    assert isinstance(tier.state, Paused)
    enter(replace(tier, state=tier.state.resume_to), cause, state)
    return replace(tier, state=replace(tier.state, resume_to=state))


def mermaid() -> str:
    """The table as a Mermaid state diagram. An edge of the frame `forward` leaves from every state in it."""
    groups: dict[tuple[StateName, ...], str] = {FORWARD: "forward", GOING: "forward"}
    inside: list[str] = []
    outside: list[str] = []
    for sources, cause, target in ROWS:
        names = [groups[sources]] if sources in groups else [str(source) for source in sources]
        within = sources not in groups and all(source in FORWARD for source in sources)
        rows = inside if within and (target in FORWARD or target == WHERE_IT_STOPPED) else outside
        rows += [f"{name} --> {target}: {cause}" for name in names]
    frame = [f"        {row}" for row in inside]
    return "\n".join(
        [
            "stateDiagram-v2",
            "    [*] --> resting",
            "    state forward {",
            *frame,
            "    }",
            *(f"    {row}" for row in outside),
        ]
    )
