"""What a tier counts of its instances: admissions, failed starts, deaths and drains, and what follows from it.

Too many failures undo a rollout. At rest they make replacements start ever less often. Refuses to move an instance.
"""

from __future__ import annotations

from dataclasses import replace

from changeover.model.revision import template_of
from changeover.rollout import commands as do
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import STARTING, Phase
from changeover.rollout.tier.context import Context, Transition, failures_in_a_row, watch_time, way_back
from changeover.rollout.tier.settings import RolloutSettings
from changeover.rollout.tier.state import Resting, TierState, Undoing, with_rollout
from changeover.rollout.tier.steps import undo
from changeover.rollout.tier.transitions import StateCause, enter


def count_admission(settings: RolloutSettings, tier: TierState, at: float) -> TierState:
    failures = max(0, tier.failures - 1)
    if isinstance(tier.state, Resting):
        failures = failures_in_a_row(settings, tier, at)
    state = tier.state
    if tier.forward is not None:
        rollout = tier.forward.rollout
        state = with_rollout(tier.forward, replace(rollout, admissions=rollout.admissions + 1))
    elif isinstance(state, Undoing):
        state = replace(state, admissions=state.admissions + 1)
    return replace(tier, state=state, failures=failures, admitted_at=at)


def count_death(context: Context, tier: TierState, member: Member, reason: str, at: float) -> Transition:
    """Count a lost instance that served. If most of the new ones are lost soon, their template is not fit to serve.

    Most, and not just some: of ten thousand a few die early whatever they run.
    """
    soon = at < member.times.get(Phase.ADMITTED, at) + context.settings.progress_deadline
    if not soon or tier.forward is None or member.template != tier.goal:
        return tier
    rollout = tier.forward.rollout
    rollout = replace(rollout, deaths=rollout.deaths + 1)
    tier = replace(tier, state=with_rollout(tier.forward, rollout))
    if rollout.deaths >= max(context.settings.timing.max_failures, rollout.admissions / 2):
        tier = yield from undo(context, tier, reason)
    return tier


def count_death_at_rest(context: Context, tier: TierState, member: Member, at: float) -> Transition:
    """Start the replacements of instances that keep dying ever less often.

    The first ones are replaced at once: most deaths are single events.
    """
    settings, timing = context.settings, context.settings.timing
    if not isinstance(tier.state, Resting) or member.template != tier.goal:
        return tier
    soon = at < member.times.get(Phase.ADMITTED, at) + timing.settled
    failures = failures_in_a_row(settings, tier, at) + soon
    tier = replace(tier, failures=failures)
    if not soon or failures < settings.many_failures:
        return tier
    pause = min(timing.max_backoff, 2.0 ** min(failures - settings.many_failures, 10))
    yield do.Note(
        f"instances of {template_of(tier.goal)} keep dying: {failures} in a row; the next one starts in {pause:.0f} s"
        + way_back(settings, tier),
        level="warning",
    )
    yield do.WakeAt(at + pause)
    return replace(tier, not_before=at + pause)


def count_drain(context: Context, tier: TierState, member: Member) -> Transition:
    """Note how long the drain of an old instance took: the rollout watches its new ones for as long."""
    leaving, drained = member.times.get(Phase.LEAVING), member.times.get(Phase.DRAINED)
    if tier.forward is None or leaving is None or drained is None or not member.served:
        return tier
    rollout = tier.forward.rollout
    if member.template == tier.goal or drained - leaving <= rollout.longest_drain:
        return tier
    before, rollout = rollout, replace(rollout, longest_drain=drained - leaving)
    if (watch := watch_time(context.settings, rollout)) > watch_time(context.settings, before):
        yield do.WakeAt(tier.admitted_at + watch)
    return replace(tier, state=with_rollout(tier.forward, rollout))


def count_failure(context: Context, tier: TierState, member: Member, reason: str, at: float) -> Transition:
    """Count a failed start; undo the rollout when too many fail, and wait ever longer between attempts."""
    yield do.Note(reason, member.name, "warning")
    if member.template not in (tier.goal, tier.previous):
        return tier
    timing = context.settings.timing
    failures = (failures_in_a_row(context.settings, tier, at) if isinstance(tier.state, Resting) else tier.failures) + 1
    starting = context.fleet.count(STARTING, member.template)
    hopeless = failures >= max(timing.max_failures, starting / 2)
    tier = replace(tier, failures=failures)
    if tier.forward is not None and member.template == tier.goal and not tier.stopped:
        if not hopeless:
            return tier
        tier = yield from undo(context, tier, reason)
    elif isinstance(tier.state, Undoing) and hopeless:
        # There is nowhere else to go: the tier is left to healing, and the rollout ends.
        tier = enter(tier, StateCause.BARRED, Resting())
        yield do.Finish("failed", f"the way back is barred too: {reason}")
    if member.template in (tier.goal, tier.previous) and failures > starting:
        not_before = at + min(timing.max_backoff, 2.0 ** min(failures - 1, 10))
        tier = replace(tier, not_before=not_before)
        yield do.WakeAt(not_before)
    return tier
