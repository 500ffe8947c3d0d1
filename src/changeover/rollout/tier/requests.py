"""What an operator asks of a tier, and what the tier does about it. The answers are the table in `actions`."""

from __future__ import annotations

from dataclasses import replace

from changeover.rollout import commands as do
from changeover.rollout import events as on
from changeover.rollout.tier.actions import ANSWERS, Action, Answer, status_of
from changeover.rollout.tier.context import Context, Transition, canary_step
from changeover.rollout.tier.state import (
    AwaitingPermission,
    Baking,
    Failed,
    Finishing,
    Holding,
    Paused,
    Prepared,
    Preparing,
    Rolling,
    Stepping,
    Switching,
    TierState,
)
from changeover.rollout.tier.steps import go_to_step, pause, restarted, start, undo, wake_for_step
from changeover.rollout.tier.transitions import StateCause as Cause
from changeover.rollout.tier.transitions import enter

NO_STEP = Answer(False, "there is no step to promote: it goes on by itself")
NO_WAY = Answer(False, "there is no earlier rollout to go by")


def answered(tier: TierState, action: Action) -> Answer:
    """What the tier answers in this very state: the row of its status, unless there is nothing to promote or go by."""
    row = ANSWERS[status_of(tier.state), action]
    if not row.done:
        return row
    if action in (Action.PROMOTE, Action.PROMOTE_FULL):
        position = tier.position
        waits = tier.stopped or isinstance(position, (Stepping, Holding, Prepared, Baking))
        return row if waits and not isinstance(position, (Rolling, Finishing)) else NO_STEP
    if action is Action.UNDO and tier.forward is None and tier.undo_to is None:
        return NO_WAY
    if action is Action.RETRY and not isinstance(tier.state, Failed) and tier.retry_to is None:
        return NO_WAY
    return row


def answer(context: Context, tier: TierState, event: on.ActionRequested) -> Transition:
    """Do what the operator asks, or refuse with the reason."""
    found = answered(tier, event.action)
    if not found.done:
        yield do.Refuse(found.text)
        return tier
    noted = False
    transition = _carry_out(context, tier, event)
    while True:
        try:
            command = next(transition)
        except StopIteration as end:
            if not noted:
                yield do.Note(f"{event.action}, requested by {event.requester}: {found.text}")
            return end.value  # type: ignore[no-any-return]
        noted = noted or isinstance(command, do.Note | do.Refuse | do.Finish)
        yield command


def _carry_out(context: Context, tier: TierState, event: on.ActionRequested) -> Transition:
    match event.action:
        case Action.PAUSE:
            return (yield from pause(context, tier, event.reason or f"requested by {event.requester}"))
        case Action.RESUME:
            return (yield from _resume(context, tier, event.at))
        case Action.PROMOTE | Action.PROMOTE_FULL:
            return (yield from _promote(context, tier, event))
        case Action.ABORT | Action.UNDO if tier.forward is not None:
            return (yield from undo(context, tier, event.reason or f"{event.action} requested by {event.requester}"))
        case Action.UNDO if tier.undo_to is not None:
            return (yield from start(context, tier, on.Started(event.at, tier.undo_to, "rolling")))
        case Action.RETRY if isinstance(tier.state, Failed):
            return (yield from start(context, tier, on.Started(event.at, tier.goal)))
        case Action.RETRY if tier.retry_to is not None:
            return (yield from start(context, tier, on.Started(event.at, tier.retry_to)))
    return tier


def _resume(context: Context, tier: TierState, at: float) -> Transition:
    if isinstance(tier.state, Paused):
        inner = tier.state.resume_to
        if not isinstance(inner, AwaitingPermission):
            inner = restarted(inner, at)
        tier = enter(tier, Cause.RESUMED, inner)
    return (yield from wake_for_step(context.settings, tier))


def _promote(context: Context, tier: TierState, event: on.ActionRequested) -> Transition:
    position = tier.position
    full = event.action is Action.PROMOTE_FULL
    cause = Cause.FULLY_PROMOTED if full else Cause.PROMOTED
    while isinstance(tier.state, (Paused, AwaitingPermission)):
        tier = enter(tier, cause, tier.state.resume_to)
    match position:
        case Stepping(rollout) | Holding(rollout) if full:
            return enter(tier, cause, Rolling(rollout))
        case Stepping(step=index) | Holding(step=index):
            done = str(canary_step(context.settings, tier) or "")
            return (yield from go_to_step(context, tier, cause, index + 1, event.at, done))
        case Baking(rollout):
            return enter(tier, cause, Finishing(rollout))
        case Preparing(rollout) | Prepared(rollout) | Switching(rollout) if full:
            return enter(tier, cause, Finishing(rollout))
        case Preparing():
            return replace(tier, state=replace(position, promoted=True))
        case Prepared(rollout):
            return enter(tier, cause, Switching(rollout))
    return tier  # a switch that was paused goes on
