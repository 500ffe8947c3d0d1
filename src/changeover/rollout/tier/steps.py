"""How a rollout begins, goes from step to step, stops, turns back and arrives.

Functions of state and event: they yield commands and return the next state (`Transition`).
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

from changeover.model.revision import is_restart, template_of
from changeover.model.update import Strategy
from changeover.rollout import commands as do
from changeover.rollout import events as on
from changeover.rollout.members.phases import Phase
from changeover.rollout.strategies import blue_green, canary
from changeover.rollout.tier.context import (
    Context,
    Transition,
    canary_step,
    fresh_baseline,
    holds_switch,
    is_complete,
    step_at,
    step_ends,
    target,
    watch_time,
)
from changeover.rollout.tier.settings import CanaryStep, RolloutSettings
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
    Stepping,
    Switching,
    TierState,
    Undoing,
)
from changeover.rollout.tier.transitions import StateCause as Cause
from changeover.rollout.tier.transitions import enter, enter_under_pause

# -- begin ---------------------------------------------------------------------------------------------------------


def start(context: Context, tier: TierState, event: on.Started) -> Transition:
    """Move the tier to a template."""
    if event.goal == tier.goal and tier.moving:
        return tier
    previous = _way_back(tier)
    strategy, note = _strategy(context, previous, event)
    if note:
        yield do.Note(note)
    served = context.fleet.count((Phase.ADMITTED,), event.goal)
    rollout = Rollout(previous, strategy, serial_before=tier.serial, admissions=served)
    tier = replace(tier, goal=event.goal, failures=0, not_before=event.at)
    match strategy:
        case "canary":
            tier = enter(tier, Cause.ROLL_CANARY, Stepping(rollout, 0, event.at))
            return (yield from _begin_step(context.settings, tier, ""))
        case "blue-green":
            return enter(tier, Cause.ROLL_BLUE_GREEN, Preparing(rollout))
        case _:
            return enter(tier, Cause.ROLL, Rolling(rollout))


def _way_back(tier: TierState) -> str | None:
    """The last template that was complete, never one that was still on its way in."""
    if tier.forward is not None:
        return tier.previous
    if isinstance(tier.state, Failed):
        return None
    return tier.goal if tier.serial else None


def _strategy(context: Context, previous: str | None, event: on.Started) -> tuple[Strategy, str]:
    """The strategy that was asked for where it is possible, and a note where it is not."""
    if previous in (None, event.goal):
        return "rolling", ""  # with nothing to compare with or to switch from there are no steps to take
    wanted = event.strategy or context.settings.strategy
    if wanted == "blue-green" and any(member.template not in (previous, event.goal) for member in context.fleet):
        note = "instances of a third version exist, so this is no switch between two colours: rolling"
        return "rolling", note
    return wanted, ""


# -- step by step --------------------------------------------------------------------------------------------------


def go_to_step(context: Context, tier: TierState, cause: Cause, index: int, at: float, done: str = "") -> Transition:
    """Leave one canary step for another. `done`: the step that is over, in words."""
    assert isinstance(tier.state, (Stepping, Holding))
    tier = enter(tier, cause, Stepping(tier.state.rollout, index, at))
    return (yield from _begin_step(context.settings, tier, done))


def _begin_step(settings: RolloutSettings, tier: TierState, done: str) -> Transition:
    """Announce the step, and await permission where hooks are asked first."""
    step = canary_step(settings, tier)
    tier = align(settings, tier)
    if step is not None or done:
        yield do.StepReached(str(step or ""), done)
    if settings.ask_first and step is not None:
        tier = _ask_hooks(tier, str(step), done)
    yield from wake_for_step(settings, tier)
    return tier


def align(settings: RolloutSettings, tier: TierState) -> TierState:
    """A canary's state agrees with the step it is at. It may not after a start or an edit of the chain file."""
    match tier.state:
        case Stepping(rollout, index, since):
            step = step_at(settings, index)
            if step is None:
                return enter(tier, Cause.STEPS_DONE, Rolling(rollout))
            return enter(tier, Cause.STEP_HOLDS, Holding(rollout, index, since)) if step.holds else tier
        case Holding(rollout, index, since):
            step = step_at(settings, index)
            if step is None or not step.holds:
                return align(settings, enter(tier, Cause.SETTINGS_CHANGED, Stepping(rollout, index, since)))
    return tier


def _ask_hooks(tier: TierState, step: str, done: str) -> TierState:
    assert isinstance(tier.state, Position)
    return enter(tier, Cause.HOOKS_ASKED, AwaitingPermission(step, done, tier.state))


def wake_for_step(settings: RolloutSettings, tier: TierState) -> Transition:
    """Be woken when time ends what the tier waits for."""
    if (ends := step_ends(settings, tier)) < inf:
        yield do.WakeAt(ends)
    return tier


def allow(context: Context, tier: TierState, event: on.StepAllowed) -> Transition:
    """Take the answer of the hooks."""
    if tier.awaiting is None:
        return tier  # an operator promoted or aborted it meanwhile
    position = restarted(tier.awaiting.resume_to, event.at)
    if isinstance(tier.state, Paused):
        tier = enter_under_pause(tier, Cause.ALLOWED, position)
    else:
        tier = enter(tier, Cause.ALLOWED, position)
    if event.objection:
        tier = yield from pause(context, tier, event.objection)
    return (yield from wake_for_step(context.settings, tier))


def restarted(position: Position, at: float) -> Position:
    """The position, whose wait begins anew."""
    return replace(position, since=at) if isinstance(position, (Stepping, Holding, Baking)) else position


def pause(context: Context, tier: TierState, reason: str) -> Transition:
    """Begin nothing new."""
    draining = context.fleet.count((Phase.LEAVING, Phase.DRAINING))
    goes_on = f"; {draining} drains under way go on to their end" if draining else ""
    yield do.Note(f"paused: {reason}{goes_on}", level="warning")
    state = tier.forward
    if state is None or isinstance(state, Paused):
        return tier
    return enter(tier, Cause.PAUSED, Paused(reason, state))


def heed(context: Context, tier: TierState, event: on.GuardJudged) -> Transition:
    """Act on the verdict of the guard."""
    if tier.forward is None:
        return tier
    match event.verdict:
        case "failed":
            return (yield from undo(context, tier, f"guard: {event.reason}"))
        case "inconclusive" if not tier.paused:
            return (yield from pause(context, tier, f"guard: {event.reason}"))
        case "passed" if isinstance(tier.state, Stepping) and not context.untouched:
            step = canary_step(context.settings, tier)
            if step is not None and step.kind == "analyse":
                yield do.Note(f"analysis passed: {event.reason}")
                index = tier.state.step + 1
                return (yield from go_to_step(context, tier, Cause.STEP_DONE, index, event.at, str(step)))
    return tier


def undo(context: Context, tier: TierState, reason: str) -> Transition:
    """Go back, if there is a template to go back to."""
    if tier.rollout is None:
        return tier
    back = tier.rollout.previous
    if back is None:
        yield do.Finish("failed", reason)
        return enter(tier, Cause.NOWHERE_BACK, Failed(reason))
    if back == tier.goal:  # there is no other template; what is missing is healed
        yield do.Finish("failed", reason)
        return enter(tier, Cause.SAME_TEMPLATE, Resting())
    yield do.Note(f"going back {_from_to(tier.goal, back)}: {reason}", level="warning")
    served = context.fleet.count((Phase.ADMITTED,), back)
    tier = enter(tier, Cause.TURNED_BACK, Undoing(reason, served))
    return replace(tier, goal=back, retry_to=tier.goal, failures=0)


def _from_to(goal: str, back: str) -> str:
    if is_restart(back, goal):
        return f"to the instances of {template_of(back)} from before the restart"
    return f"from {template_of(goal)} to {template_of(back)}"


# -- what fleet and time bring -------------------------------------------------------------------------------------


def advance(context: Context, tier: TierState, at: float, *, weights_seen: bool) -> Transition:
    """Leave a step that is reached or waited out. `weights_seen`: routers have every weight that was given."""
    while isinstance(tier.state, (Stepping, Holding)):
        tier = align(context.settings, tier)
        step = canary_step(context.settings, tier)
        if step is None or not isinstance(tier.state, Stepping):
            return tier
        if step.kind == "analyse" and at >= step_ends(context.settings, tier):
            why = f": {context.untouched}" if context.untouched else ""
            return (yield from pause(context, tier, f"the analysis came to no end within {step.stay:g} s{why}"))
        if not _is_over(context, tier, step, at, weights_seen):
            return tier
        if step.kind == "pause" and context.untouched:
            return (yield from pause(context, tier, f"step {step} proves nothing: {context.untouched}"))
        index = tier.state.step + 1
        yield do.Note(f"step {index} of {len(context.settings.steps)} done: {step}")
        tier = yield from go_to_step(context, tier, Cause.STEP_DONE, index, at, str(step))
    return (yield from _advance_blue_green(context, tier, at))


def _is_over(context: Context, tier: TierState, step: CanaryStep, at: float, weights_seen: bool) -> bool:
    settings, fleet = context.settings, context.fleet
    match step.kind:
        case "share":
            return weights_seen and canary.arrived(
                fleet,
                target(settings, tier),
                share=step.share,
                weighed=settings.canary_beside_all,
                fresh=fresh_baseline(settings, tier, fleet),
            )
        case "pause":
            return at >= step_ends(settings, tier)
        case "analyse":
            return False  # the guard ends it


def _advance_blue_green(context: Context, tier: TierState, at: float) -> Transition:
    settings, fleet = context.settings, context.fleet
    if isinstance(tier.state, Preparing) and not tier.state.announced:
        if is_complete(settings, tier, fleet):
            return (yield from _announce_switch(context, tier))
        return tier
    tier = align_switch(context, tier)
    match tier.state:
        case Prepared(rollout) | Switching(rollout) if blue_green.switched(fleet, target(settings, tier)):
            yield do.Note(f"all traffic goes to {_new(tier)}; {_old(tier)} is kept warm for {settings.bake:g} s")
            tier = enter(tier, Cause.SWITCHED, Baking(rollout, at))
            yield do.StepReached("", _switch(tier))
            return (yield from wake_for_step(settings, tier))
        case Baking(rollout) if at >= step_ends(settings, tier):
            return enter(tier, Cause.BAKED, Finishing(rollout))
    return tier


def _announce_switch(context: Context, tier: TierState) -> Transition:
    assert isinstance(tier.state, Preparing)
    if holds_switch(context.settings, tier):
        yield do.Note(f"{_new(tier)} is complete beside {_old(tier)}; the switch waits for `promote`")
    yield do.StepReached(_switch(tier), "")
    tier = replace(tier, state=replace(tier.state, announced=True))
    if context.settings.ask_first:
        return _ask_hooks(tier, _switch(tier), "")
    return align_switch(context, tier)


def _switch(tier: TierState) -> str:
    return f"switch to {_new(tier)}"


def _new(tier: TierState) -> str:
    restart = is_restart(tier.previous or "", tier.goal)
    return f"{template_of(tier.goal)}, restarted" if restart else template_of(tier.goal)


def _old(tier: TierState) -> str:
    return template_of(tier.previous or "")


def align_switch(context: Context, tier: TierState) -> TierState:
    """Blue-green's state before the switch agrees with the instances and the chain file."""
    settings = context.settings
    match tier.state:
        case Prepared(rollout) if not (settings.hold and is_complete(settings, tier, context.fleet)):
            return align_switch(context, enter(tier, Cause.NOT_HELD, Preparing(rollout, announced=True)))
        case Preparing(rollout, announced=True) if is_complete(settings, tier, context.fleet):
            if holds_switch(settings, tier):
                return enter(tier, Cause.HELD, Prepared(rollout))
            return enter(tier, Cause.COMPLETE, Switching(rollout))
    return tier


# -- arriving ------------------------------------------------------------------------------------------------------


def has_arrived(context: Context, tier: TierState, at: float) -> bool:
    """Whether the rollout under way, forward or back, has reached its goal."""
    if isinstance(tier.state, Undoing):
        return _is_done(context, tier, tier.state.admissions)
    rollout = tier.rollout
    if rollout is None or isinstance(tier.state, Paused) or canary_step(context.settings, tier) is not None:
        return False  # one that a guard has paused for want of data is not complete
    if not _is_done(context, tier, rollout.admissions):
        return False
    return rollout.previous is None or at >= tier.admitted_at + watch_time(context.settings, rollout)


def arrive(tier: TierState) -> Transition:
    """Come to rest at the goal."""
    if isinstance(tier.state, Undoing):
        yield do.Finish("undone", tier.state.reason)
        return enter(tier, Cause.ARRIVED, Resting())
    yield do.Finish("completed")
    return replace(enter(tier, Cause.ARRIVED, Resting()), undo_to=tier.previous, failures=0)


def _is_done(context: Context, tier: TierState, admissions: int) -> bool:
    """Whether the goal has every place and nothing of any other template is left.

    In a large tier some instance has always just failed. Lost instances are left to healing, as at rest, while no
    more are missing than may be.
    """
    fleet, goal, size = context.fleet, tier.goal, context.settings.size
    serving = fleet.count((Phase.ADMITTED,), goal)
    if serving != size and (serving < size - context.settings.unavailable or admissions < size):
        return False
    staying = fleet.staying(goal)
    return staying <= size and len(fleet.members) <= staying + fleet.count((Phase.FAILED,), goal)
