"""The life of each instance: what was observed, what time brings, and the commands whose effect it waits for.

A command whose effect was not observed is given again after `timing.retry`. Only an observation moves an instance to
its next phase, never the fact that a command was given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import inf

from changeover.model.revision import template_of
from changeover.rollout import commands as do
from changeover.rollout import events as on
from changeover.rollout.members import losses
from changeover.rollout.members.drain_now import end_drain
from changeover.rollout.members.member import ASKED, EXPOSED, KILLED, LONG_LIVED, Member
from changeover.rollout.members.phases import STARTING, Cause, Phase
from changeover.rollout.tier.context import Context, Transition
from changeover.rollout.tier.state import TierState
from changeover.rollout.tier.steps import undo

Commands = Iterator[do.Command]

# -- what was observed ---------------------------------------------------------------------------------------------


def observe(context: Context, tier: TierState, member: Member, event: on.Event) -> Transition:
    """Act on an observation of one instance."""
    fleet = context.fleet
    match event:
        case on.InstancePlaced():
            fleet.place(member, event.place)
        case on.InstanceReady():
            if member.phase is Phase.CREATING:
                fleet.give_up(member, False)
            if fleet.move(member, Cause.BECAME_READY, event.at):
                if context.settings.follows_health:
                    member.times.setdefault(EXPOSED, event.at)
                yield do.WakeAt(event.at + context.settings.min_ready)
                yield from _warm_up(context, tier, member, event.at)
        case on.InstanceUnready():
            served, member.unready = member.phase is Phase.ADMITTED, event.reason
            because = f": {event.reason}" if event.reason else ""
            if fleet.move(member, Cause.BECAME_UNREADY, event.at) and served:
                member.patience_from = event.at
                yield do.Note(f"is not ready any more{because}", member.name, "warning")
                reason = f"{member.name} served and is not ready any more{because}"
                return (yield from losses.count_death(context, tier, member, reason, event.at))
        case on.InstanceGone():
            return (yield from _end(context, tier, member, event))
        case on.RouterConfirmed(admitted=True):
            if fleet.move(member, Cause.ADMISSION_CONFIRMED, event.at):
                member.served = True
                if context.settings.watch:
                    yield do.WakeAt(event.at + context.settings.watch)
                if member.template == tier.goal:
                    tier = losses.count_admission(context.settings, tier, event.at)
        case on.RouterConfirmed(admitted=False):
            if fleet.move(member, Cause.REMOVAL_CONFIRMED, event.at) and member.phase is Phase.DRAINING:
                yield from _begin_drain(context, tier, member, event.at)
        case on.Unconfirmed() if not context.holds_back(tier, member):
            if event.silent:
                member.patience_from = event.at
            yield do.Note(f"{member.phase}: no confirmation from {event.source}; waiting", member.name, "warning")
        case on.InFlightSeen():
            yield from _count_in_flight(context, tier, member, event)
        case on.StopSent():
            fleet.move(member, Cause.STOP_SENT, event.at)
        case on.DrainEndRequested():
            if (yield from end_drain(context, tier, member, event)):
                yield from command(context, tier, member, event.at)
    return tier


def _end(context: Context, tier: TierState, member: Member, event: on.InstanceGone) -> Transition:
    was, reason = member.phase, event.reason or "the process ended"
    member.served = member.served or member.may_carry
    if not context.fleet.move(member, Cause.EXITED, event.at):
        return tier
    if was in (Phase.LEAVING, Phase.DRAINING) and member.in_flight is not None and member.in_flight.busy:
        member.cut = str(member.in_flight)
    if was in STARTING and not member.served:
        why = f"{member.name} did not start: {reason}"
        tier = yield from losses.count_failure(context, tier, member, why, event.at)
    elif was not in (Phase.DRAINED, Phase.STOPPING):  # empty, and a stop is at least on its way
        cost = "" if event.cost is None else f" ({event.cost})"
        yield do.Note(f"died while {was}{cost}: {reason}", member.name, "warning")
        why = f"{member.name} died while {was}: {reason}"
        tier = yield from losses.count_death(context, tier, member, why, event.at)
        tier = yield from losses.count_death_at_rest(context, tier, member, event.at)
    else:
        tier = yield from losses.count_drain(context, tier, member)
    if member.phase is Phase.FAILED:
        yield do.Remove(member.name)
        member.asked_at = event.at
    return tier


# -- draining ------------------------------------------------------------------------------------------------------


def _begin_drain(context: Context, tier: TierState, member: Member, at: float) -> Commands:
    member.quiet = 0
    if not _may_have_requests(context, member):
        context.fleet.move(member, Cause.EMPTIED, at)
        yield from command(context, tier, member, at)
    elif not context.keeps_warm(tier, member):
        yield _set_deadline(context, member, at)


def _may_have_requests(context: Context, member: Member) -> bool:
    """Whether anything may ever have sent it a request, a preview included. An instance that never got ready may never
    count."""
    if member.exposed:
        return True
    if not context.settings.follows_health:
        return Phase.READY in member.times
    return Phase.WARMING in member.times or member.in_flight is not None


def _asked_from(context: Context, member: Member) -> float:
    """When a draining instance is asked to close its long-lived connections; infinity: it was asked before."""
    settings = context.settings
    if member.deadline is None or not settings.asks_later or context.needed(member):
        return inf
    return member.deadline - settings.drain_deadline + settings.long_lived_asked_after


def _set_deadline(context: Context, member: Member, at: float) -> do.Command:
    member.deadline = at + context.settings.drain_deadline
    return do.WakeAt(member.deadline)


def _count_in_flight(context: Context, tier: TierState, member: Member, event: on.InFlightSeen) -> Commands:
    context.fleet.see(member, event.in_flight)
    for text in event.notes:
        yield do.Note(text, member.name, "warning")
    if event.in_flight.busy:
        member.quiet = 0
        if member.phase in (Phase.LEAVING, Phase.DRAINING):
            member.last_busy = event.at
        if _is_long_lived(context, tier, member, event.at):
            yield from _cut_long_lived(context, tier, member, event.at)
        else:
            yield from _check_deadline(context, tier, member, event.at)
    elif member.phase is Phase.DRAINING:
        member.quiet += 1
        empty = member.quiet >= context.settings.timing.quiet_observations
        held = context.keeps_warm(tier, member) or context.needed(member)
        if empty and not held and context.fleet.move(member, Cause.EMPTIED, event.at):
            yield from command(context, tier, member, event.at)


def _is_long_lived(context: Context, tier: TierState, member: Member, at: float) -> bool:
    """Whether all that an instance has open is long-lived, and no longer waited for: it gets nothing new since it was
    removed. An upload is waited for however long it takes."""
    if member.phase is not Phase.DRAINING or at < member.since + context.settings.long_lived_after:
        return False
    uploads = member.in_flight is not None and bool(member.in_flight.uploads)
    return not (uploads or context.keeps_warm(tier, member) or context.needed(member))


def _cut_long_lived(context: Context, tier: TierState, member: Member, at: float) -> Commands:
    text = f"cutting {member.in_flight}, open {at - member.since:.0f} s after its removal (drain.long_lived)"
    yield do.Note(text, member.name, "warning", "long-lived")
    member.times[LONG_LIVED] = at
    context.fleet.move(member, Cause.LONG_LIVED_CUT, at)
    yield from command(context, tier, member, at)


def _check_deadline(context: Context, tier: TierState, member: Member, at: float) -> Commands:
    if member.phase is not Phase.DRAINING or member.deadline is None or at < member.deadline or member.overdue:
        return
    if context.needed(member):
        return
    left = member.in_flight or "what could not be counted"
    if context.settings.cut_at_deadline:
        yield do.Note(f"drain deadline passed: cutting {left}", member.name, "warning")
        member.cut = str(member.in_flight or "unknown")
        context.fleet.move(member, Cause.DEADLINE_CUT, at)
        yield from command(context, tier, member, at)
    else:
        member.overdue = True
        yield do.Note(f"drain deadline passed: still waiting for {left}", member.name, "warning")


def time_drains(context: Context, tier: TierState, at: float) -> Commands:
    """Suspend the deadlines of instances that are kept warm, and start those of instances that no longer are."""
    draining = list(context.fleet.where(Phase.DRAINING))
    for member in draining:
        if context.keeps_warm(tier, member):
            member.deadline = None
        elif member.deadline is None:
            yield _set_deadline(context, member, at)
        context.fleet.touch(member)
    context.fleet.retime(draining)


# -- what time brings ----------------------------------------------------------------------------------------------


def tick(context: Context, tier: TierState, at: float) -> Transition:
    """Act on the time that has passed."""
    for member in context.fleet.due(at, partial(_due_from, context, tier)):
        match member.phase:
            case Phase.CREATING | Phase.READY:
                tier = yield from _check_start(context, tier, member, at)
            case Phase.WARMING:
                yield from _warm_up(context, tier, member, at)
            case Phase.DRAINING:
                yield from _check_deadline(context, tier, member, at)
        if at >= member.asked_at + context.settings.timing.retry:
            yield from command(context, tier, member, at)
    return tier


def _due_from(context: Context, tier: TierState, member: Member) -> float:
    """From when on a Tick may concern the instance. Whatever `tick` compares with `at` belongs in here."""
    settings, timing = context.settings, context.settings.timing
    retry = member.asked_at + timing.retry
    match member.phase:
        case Phase.READY if context.holds_back(tier, member):
            return inf
        case Phase.CREATING | Phase.READY:
            patience = member.patience_from + settings.progress_deadline
            commanded = member.phase is Phase.READY or Phase.LEAVING in member.times
            return min(patience, retry) if commanded else patience
        case Phase.WARMING:
            return member.since + settings.min_ready
        case Phase.ADMITTED if member.weight != member.weight_seen:
            return retry
        case Phase.DRAINING:
            deadline = inf if member.deadline is None or member.overdue else member.deadline
            return min(deadline, max(retry, _asked_from(context, member)))
        case Phase.STOPPING:
            return max(retry, member.since + settings.grace(member.template))
        case Phase.LEAVING | Phase.DRAINED | Phase.FAILED:
            return retry
        case _:
            return inf


def _warm_up(context: Context, tier: TierState, member: Member, at: float) -> Commands:
    long_enough = at >= member.since + context.settings.min_ready
    if long_enough and context.fleet.move(member, Cause.READY_LONG_ENOUGH, at):
        yield from command(context, tier, member, at)


def _check_start(context: Context, tier: TierState, member: Member, at: float) -> Transition:
    if at < member.patience_from + context.settings.progress_deadline:
        return tier
    waited = at - member.patience_from
    missing = "ready" if member.phase is Phase.CREATING else "healthy at its router"
    because = f": {member.unready}" if member.unready and member.phase is Phase.CREATING else ""
    reason = f"{member.name} was not {missing} after {waited:.0f} s (progress_deadline){because}"
    since, known = member.patience_from, member.given_up
    if member.served and not context.fleet.serving:
        # No instance is ready: routers in panic still send requests to this one. Its replacement comes first.
        context.fleet.give_up(member)
        member.patience_from = at
        if known:
            return tier
        yield do.Note("stays until another instance is ready: none is", member.name, "warning")
    else:
        member.given_up = True
        yield from retire(context, tier, member, at)
    if tier.forward is not None and member.template == tier.goal and tier.admitted_at <= since:
        return (yield from undo(context, tier, reason))  # nor was any other in all that time
    return (yield from losses.count_failure(context, tier, member, reason, at))


# -- what is to happen ---------------------------------------------------------------------------------------------


def create(context: Context, tier: TierState, template: str, at: float) -> Transition:
    """Create an instance of that revision of a template."""
    serial = tier.serial + 1
    name = f"{context.settings.tier}-{template_of(template)}-{serial}"
    times = {"created": at, Phase.CREATING: at}
    context.fleet.add(Member(name, template, serial, times=times, patience_from=at, asked_at=at))
    yield do.CreateInstance(name, template_of(template))
    yield do.WakeAt(at + context.settings.progress_deadline)
    return replace(tier, serial=serial)


def admit_waiting(context: Context, tier: TierState, at: float) -> Commands:
    """Admit the instances that waited for others. Their start is measured from now: the wait was not their fault."""
    waited = list(context.fleet.where(Phase.READY))
    for member in waited:
        member.patience_from = at
        yield from command(context, tier, member, at)
    context.fleet.retime(waited)


def retire(context: Context, tier: TierState, member: Member, at: float) -> Commands:
    """Have the instance leave."""
    if context.fleet.move(member, Cause.RETIRED, at):
        yield from command(context, tier, member, at)


def readmit(context: Context, tier: TierState, member: Member, at: float) -> Commands:
    """Have a leaving instance come back."""
    if context.fleet.move(member, Cause.READMITTED, at):
        member.deadline, member.overdue, member.quiet = None, False, 0
        member.patience_from = at
        yield from command(context, tier, member, at)


def command(context: Context, tier: TierState, member: Member, at: float) -> Commands:
    """Give, or give again, the commands whose effect the instance's phase waits for."""
    grace = context.settings.grace(member.template)
    match member.phase:
        case Phase.CREATING if Phase.LEAVING in member.times:
            yield do.LameDuck(member.name, on=False)
        case Phase.READY if not context.holds_back(tier, member):
            if EXPOSED not in member.times:
                member.times[EXPOSED] = at
                context.fleet.touch(member)
            yield do.Admit(member.name, member.weight)
        case Phase.ADMITTED:
            yield do.SetWeight(member.name, member.weight)
        case Phase.LEAVING:
            if not context.settings.asks_later:
                yield do.LameDuck(member.name, on=True)
            yield do.Remove(member.name)
        case Phase.DRAINING if at >= _asked_from(context, member):
            if ASKED not in member.times:
                member.times[ASKED] = at
                context.fleet.touch(member)
                yield do.Note("asked to close what it has open (drain.long_lived)", member.name)
            yield do.LameDuck(member.name, on=True)
        case Phase.FAILED:
            yield do.Remove(member.name)
        case Phase.DRAINED:
            yield do.Stop(member.name, kill=bool(member.cut) or LONG_LIVED in member.times)
        case Phase.STOPPING if at >= member.since + grace:
            text = f"killed: still running {grace:g} s after its stop signal (stop.grace)"
            yield do.Note(text, member.name, "warning")
            member.times.setdefault(KILLED, at)
            context.fleet.touch(member)
            yield do.Stop(member.name, kill=True)
        case _:
            return
    member.asked_at = at
