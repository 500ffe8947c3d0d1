"""What a person may ask of a tier, and what comes of it in every state: the whole table, as data.

`machine` obeys it, the command line prints it, and docs/actions.md is made from it. A pair without a row would be a
state in which nobody knows what happens; a test sees to it that there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    """A tier as somebody who asks finds it."""

    RESTING = "resting"  # nothing is being rolled
    ROLLING = "rolling"  # on its way to a template
    HOLDING = "holding"  # on its way, at a step that waits for `promote`
    PAUSED = "paused"  # on its way, stopped by somebody or by the guard
    UNDOING = "undoing"  # on its way back
    FAILED = "failed"  # could not be started, and there is nothing to go back to


class Action(StrEnum):
    """What may be asked."""

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
    """Whether it is done, and what that means or why not."""

    done: bool
    says: str


S, A = State, Action
_GO_BACK = Answer(
    True, "turns round: the old instances are re-admitted first, then the new ones are drained and stopped"
)
_NOTHING = Answer(False, "nothing is being rolled")
_ON_ITS_WAY = Answer(False, "a rollout is on its way: abort it first, or let it end")
_GOING_BACK = Answer(False, "the tier is going back already; that goes on")
_NO_WAY_BACK = Answer(
    False, "the tier could not be started and there is no template to go back to; roll it to another one"
)

ANSWERS: Mapping[tuple[State, Action], Answer] = MappingProxyType(
    {
        (S.RESTING, A.ROLL): Answer(True, "rolls to the template"),
        (S.RESTING, A.PAUSE): _NOTHING,
        (S.RESTING, A.RESUME): _NOTHING,
        (S.RESTING, A.PROMOTE): _NOTHING,
        (S.RESTING, A.PROMOTE_FULL): _NOTHING,
        (S.RESTING, A.ABORT): Answer(False, "nothing is being rolled; `undo` takes back the rollout that ended last"),
        (S.RESTING, A.UNDO): Answer(
            True, "rolls back to the template before the last completed rollout, draining as ever"
        ),
        (S.RESTING, A.RETRY): Answer(True, "rolls again to the template of the last rollout that was undone"),
        (S.ROLLING, A.ROLL): Answer(True, "goes to the other template; the way back still leads to the last whole one"),
        (S.ROLLING, A.PAUSE): Answer(
            True, "begins nothing new; drains under way go on to their end; what dies is replaced"
        ),
        (S.ROLLING, A.RESUME): Answer(False, "it is not paused; it goes on"),
        (S.ROLLING, A.PROMOTE): Answer(True, "takes the step it is at as passed"),
        (S.ROLLING, A.PROMOTE_FULL): Answer(True, "skips all steps that are left and rolls the rest"),
        (S.ROLLING, A.ABORT): _GO_BACK,
        (S.ROLLING, A.UNDO): _GO_BACK,
        (S.ROLLING, A.RETRY): _ON_ITS_WAY,
        (S.HOLDING, A.ROLL): Answer(True, "goes to the other template; the way back still leads to the last whole one"),
        (S.HOLDING, A.PAUSE): Answer(True, "stays where it is until it is resumed or promoted"),
        (S.HOLDING, A.RESUME): Answer(False, "it waits for `promote`"),
        (S.HOLDING, A.PROMOTE): Answer(True, "takes the step it is at as passed"),
        (S.HOLDING, A.PROMOTE_FULL): Answer(True, "skips all steps that are left and rolls the rest"),
        (S.HOLDING, A.ABORT): _GO_BACK,
        (S.HOLDING, A.UNDO): _GO_BACK,
        (S.HOLDING, A.RETRY): _ON_ITS_WAY,
        (S.PAUSED, A.ROLL): Answer(True, "goes to the other template, and goes on"),
        (S.PAUSED, A.PAUSE): Answer(True, "stays paused"),
        (S.PAUSED, A.RESUME): Answer(True, "goes on where it stopped"),
        (S.PAUSED, A.PROMOTE): Answer(True, "takes the step it is at as passed, and goes on"),
        (S.PAUSED, A.PROMOTE_FULL): Answer(True, "skips all steps that are left and rolls the rest"),
        (S.PAUSED, A.ABORT): _GO_BACK,
        (S.PAUSED, A.UNDO): _GO_BACK,
        (S.PAUSED, A.RETRY): _ON_ITS_WAY,
        (S.UNDOING, A.ROLL): Answer(True, "goes to the other template; the way back is the one it was going back to"),
        (S.UNDOING, A.PAUSE): Answer(False, "the way back to a safe state is not paused"),
        (S.UNDOING, A.RESUME): Answer(False, "it is not paused; it goes on"),
        (S.UNDOING, A.PROMOTE): _GOING_BACK,
        (S.UNDOING, A.PROMOTE_FULL): _GOING_BACK,
        (S.UNDOING, A.ABORT): _GOING_BACK,
        (S.UNDOING, A.UNDO): _GOING_BACK,
        (S.UNDOING, A.RETRY): Answer(True, "turns round once more, to the template it was coming from"),
        (S.FAILED, A.ROLL): Answer(True, "rolls to the template"),
        (S.FAILED, A.PAUSE): _NOTHING,
        (S.FAILED, A.RESUME): _NOTHING,
        (S.FAILED, A.PROMOTE): _NOTHING,
        (S.FAILED, A.PROMOTE_FULL): _NOTHING,
        (S.FAILED, A.ABORT): _NO_WAY_BACK,
        (S.FAILED, A.UNDO): _NO_WAY_BACK,
        (S.FAILED, A.RETRY): Answer(True, "tries the same template again"),
    }
)


def table() -> str:
    """The table as Markdown, a section for every state."""
    parts = []
    for state in State:
        rows = [
            f"| `{action}` | {'yes' if ANSWERS[state, action].done else 'no'} | {ANSWERS[state, action].says} |"
            for action in Action
        ]
        parts.append("\n".join([f"### {state}", "", "| asked | done | what happens |", "|---|---|---|", *rows]))
    return "\n\n".join(parts)
