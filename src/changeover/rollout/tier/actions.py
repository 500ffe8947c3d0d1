"""What an operator may ask of a tier, and what the tier answers in every status: the whole table, as data.

`requests` obeys it, the command line prints it, and docs/actions.md is made from it. A test checks that every pair has
a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from changeover.rollout.tier.state import State, StateName
from changeover.rollout.tier.transitions import name_of


class TierStatus(StrEnum):
    """A tier as an operator sees it."""

    RESTING = "resting"  # no rollout is under way
    ROLLING = "rolling"  # on its way to a template
    HOLDING = "holding"  # on its way, at a step that waits for `promote`
    PAUSED = "paused"  # on its way, stopped by an operator, the guard or a hook that is being asked
    UNDOING = "undoing"  # on its way back
    FAILED = "failed"  # could not be started, and has no template to go back to


class Action(StrEnum):
    """What an operator may ask for."""

    ROLL = "roll"
    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    PROMOTE_FULL = "promote --full"
    ABORT = "abort"
    UNDO = "undo"
    RETRY = "retry"


@dataclass(frozen=True)
class Answer:
    """What a tier answers to a request: whether it is done, and what that means or why not."""

    done: bool
    text: str


N, T, A = StateName, TierStatus, Action
STATUSES: Mapping[StateName, TierStatus] = MappingProxyType(
    {
        N.RESTING: T.RESTING,
        N.ROLLING: T.ROLLING,
        N.STEPPING: T.ROLLING,
        N.HOLDING: T.HOLDING,
        N.PREPARING: T.ROLLING,
        N.PREPARED: T.HOLDING,
        N.SWITCHING: T.ROLLING,
        N.BAKING: T.ROLLING,
        N.FINISHING: T.ROLLING,
        N.AWAITING_PERMISSION: T.PAUSED,
        N.PAUSED: T.PAUSED,
        N.UNDOING: T.UNDOING,
        N.FAILED: T.FAILED,
    }
)


def status_of(state: State) -> TierStatus:
    return STATUSES[name_of(state)]


_BACK = Answer(True, "turns back: the old instances are re-admitted first, then the new ones are drained and stopped")
_NOTHING = Answer(False, "no rollout is under way")
_UNDER_WAY = Answer(False, "a rollout is under way: abort it first, or let it end")
_GOING_BACK = Answer(False, "the tier is already going back; that goes on")
_NO_WAY_BACK = Answer(
    False, "the tier could not be started and there is no template to go back to; roll it to another one"
)
_OTHER = Answer(True, "goes to the other template; the way back still leads to the last complete one")
_PROMOTE = Answer(True, "skips the step it is at and goes on")
_PROMOTE_FULL = Answer(True, "skips all remaining steps and rolls the rest")

ANSWERS: Mapping[tuple[TierStatus, Action], Answer] = MappingProxyType(
    {
        (T.RESTING, A.ROLL): Answer(True, "rolls to the template"),
        (T.RESTING, A.PAUSE): _NOTHING,
        (T.RESTING, A.RESUME): _NOTHING,
        (T.RESTING, A.PROMOTE): _NOTHING,
        (T.RESTING, A.PROMOTE_FULL): _NOTHING,
        (T.RESTING, A.ABORT): Answer(False, "no rollout is under way; `undo` takes back the last completed one"),
        (T.RESTING, A.UNDO): Answer(True, "rolls back to the template before the last completed rollout, with drains"),
        (T.RESTING, A.RETRY): Answer(True, "rolls again to the template of the last rollout that was undone"),
        (T.ROLLING, A.ROLL): _OTHER,
        (T.ROLLING, A.PAUSE): Answer(
            True, "begins nothing new; drains under way go on to their end; instances that die are replaced"
        ),
        (T.ROLLING, A.RESUME): Answer(False, "it is not paused; it goes on"),
        (T.ROLLING, A.PROMOTE): _PROMOTE,
        (T.ROLLING, A.PROMOTE_FULL): _PROMOTE_FULL,
        (T.ROLLING, A.ABORT): _BACK,
        (T.ROLLING, A.UNDO): _BACK,
        (T.ROLLING, A.RETRY): _UNDER_WAY,
        (T.HOLDING, A.ROLL): _OTHER,
        (T.HOLDING, A.PAUSE): Answer(True, "stays where it is until it is resumed or promoted"),
        (T.HOLDING, A.RESUME): Answer(False, "it waits for `promote`"),
        (T.HOLDING, A.PROMOTE): _PROMOTE,
        (T.HOLDING, A.PROMOTE_FULL): _PROMOTE_FULL,
        (T.HOLDING, A.ABORT): _BACK,
        (T.HOLDING, A.UNDO): _BACK,
        (T.HOLDING, A.RETRY): _UNDER_WAY,
        (T.PAUSED, A.ROLL): Answer(True, "goes to the other template, and goes on"),
        (T.PAUSED, A.PAUSE): Answer(True, "stays paused"),
        (T.PAUSED, A.RESUME): Answer(True, "goes on where it stopped"),
        (T.PAUSED, A.PROMOTE): _PROMOTE,
        (T.PAUSED, A.PROMOTE_FULL): _PROMOTE_FULL,
        (T.PAUSED, A.ABORT): _BACK,
        (T.PAUSED, A.UNDO): _BACK,
        (T.PAUSED, A.RETRY): _UNDER_WAY,
        (T.UNDOING, A.ROLL): Answer(True, "goes to the other template; the way back is the one it was going back to"),
        (T.UNDOING, A.PAUSE): Answer(False, "the way back to a safe state is not paused"),
        (T.UNDOING, A.RESUME): Answer(False, "it is not paused; it goes on"),
        (T.UNDOING, A.PROMOTE): _GOING_BACK,
        (T.UNDOING, A.PROMOTE_FULL): _GOING_BACK,
        (T.UNDOING, A.ABORT): _GOING_BACK,
        (T.UNDOING, A.UNDO): _GOING_BACK,
        (T.UNDOING, A.RETRY): Answer(True, "turns once more, to the template it came from"),
        (T.FAILED, A.ROLL): Answer(True, "rolls to the template"),
        (T.FAILED, A.PAUSE): _NOTHING,
        (T.FAILED, A.RESUME): _NOTHING,
        (T.FAILED, A.PROMOTE): _NOTHING,
        (T.FAILED, A.PROMOTE_FULL): _NOTHING,
        (T.FAILED, A.ABORT): _NO_WAY_BACK,
        (T.FAILED, A.UNDO): _NO_WAY_BACK,
        (T.FAILED, A.RETRY): Answer(True, "tries the same template again"),
    }
)


def table() -> str:
    """The table as Markdown, a section for every status."""
    parts = []
    for status in TierStatus:
        rows = [
            f"| `{action}` | {'yes' if ANSWERS[status, action].done else 'no'} | {ANSWERS[status, action].text} |"
            for action in Action
        ]
        parts.append("\n".join([f"### {status}", "", "| request | done | what happens |", "|---|---|---|", *rows]))
    return "\n\n".join(parts)
