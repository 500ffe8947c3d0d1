"""The rollout of one tier as a state machine: `handle(event)` returns the Decision that follows from it.

Rule 1: nothing but `handle` changes the tier, and only by the two tables: `tier.transitions` and `members.phases`.
Rule 2: the same events give the same decisions. Time comes with the events; names come from a counter.

`steps` and `requests` move the tier, `lifecycle` the instances, `weights` the shares; here they are joined with the
strategies. A resting tier is the same machine with nothing to replace: that is how a dead instance is healed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from changeover.rollout import commands as do
from changeover.rollout import events as on
from changeover.rollout.members import lifecycle, weights
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.phases import STAYING, Phase
from changeover.rollout.strategies import blue_green, canary, rolling
from changeover.rollout.strategies.next_actions import NextActions
from changeover.rollout.tier import requests, steps
from changeover.rollout.tier.actions import TierStatus, status_of
from changeover.rollout.tier.context import (
    Context,
    Transition,
    canary_step,
    fresh_baseline,
    share,
    target,
    watch_time,
)
from changeover.rollout.tier.decision import Decision
from changeover.rollout.tier.settings import CanaryStep, RolloutSettings
from changeover.rollout.tier.state import (
    Baking,
    Failed,
    Finishing,
    Holding,
    Prepared,
    Preparing,
    Rolling,
    StateName,
    Stepping,
    Switching,
    TierState,
)
from changeover.rollout.tier.transitions import name_of

BLUE_GREEN = (Preparing, Prepared, Switching, Baking, Finishing)
UNKNOWN_TRAFFIC = "nothing is known yet of requests to the new instances in this step"
AT_A_STEP = (Stepping, Holding, Preparing, Prepared, Switching, Baking)
"""States that fleet and time lead on to the next one."""


class Machine:
    """One tier. `fleet` and `tier` are all that is to be stored; everything else is derived from them."""

    def __init__(self, settings: RolloutSettings, tier: TierState, fleet: Fleet) -> None:
        fleet.take_changes()
        self.settings = settings
        self.fleet = fleet
        context = Context(settings, fleet)
        self.tier = steps.align_switch(context, steps.align(settings, tier))
        self._actions: tuple[TierState, int, NextActions] | None = None
        actions = self._next_actions(self.tier)
        self._context = replace(context, admit=actions.admit, warm=actions.warm)
        self._given = weights.given_before(self.tier, fleet)
        self._traffic = (self.step_key, UNKNOWN_TRAFFIC)

    @property
    def step(self) -> CanaryStep | None:
        """The canary step that the tier is at, stopped or not."""
        return canary_step(self.settings, self.tier)

    @property
    def step_key(self) -> tuple[StateName, int]:
        """Changes whenever the tier gets to another step, and not when it is paused or resumed there."""
        position = self.tier.position
        if isinstance(position, (Stepping, Holding)):
            return StateName.STEPPING, position.step
        if isinstance(position, (Baking, Finishing)):
            return name_of(position), 0
        return StateName.ROLLING, 0

    @property
    def status(self) -> TierStatus:
        """The tier as an operator sees it."""
        return status_of(self.tier.state)

    @property
    def held_back(self) -> list[str]:
        """Names of the instances that are ready and wait for the switch: those that a preview shows."""
        ready = self.fleet.where(Phase.READY)
        return [member.name for member in ready if self._context.holds_back(self.tier, member)]

    def handle(self, event: on.Event) -> Decision:
        """Decide what follows from one event."""
        before = self.tier
        commands = tuple(self._decide(event))
        moved, touched = self.fleet.take_changes()
        changed = self.tier is not before and self.tier != before
        return Decision(commands, moved, touched, self.tier, changed)

    def _decide(self, event: on.Event) -> Iterator[do.Command]:
        if self.settings.needs_traffic:
            self._note_traffic(event)
        tier = self.tier
        context = self._context
        match event:
            case on.Started():
                tier = yield from steps.start(context, tier, event)
            case on.ActionRequested():
                tier = yield from requests.answer(context, tier, event)
            case on.StepAllowed():
                tier = yield from steps.allow(context, tier, event)
            case on.GuardJudged():
                tier = yield from steps.heed(context, tier, event)
            case on.TrafficSeen():
                pass  # a step that time ends goes on below
            case on.Tick():
                tier = yield from lifecycle.tick(context, tier, event.at)
            case _:
                member = self.fleet.get(getattr(event, "name", ""))
                if isinstance(event, on.WeightSeen) and member is not None:
                    weights.see(self.fleet, member, event)
                elif member is not None:
                    tier = yield from lifecycle.observe(context, tier, member, event)
        if not isinstance(tier.state, Failed):
            tier = yield from self._go_on(tier, event.at)
        self.tier = tier

    def _note_traffic(self, event: on.Event) -> None:
        """Keep what is known of requests to the new instances in this step. A new step begins without any."""
        step = self.step_key
        if isinstance(event, on.TrafficSeen):
            self._traffic = (step, event.missing)
        known = self._traffic[1] if self._traffic[0] == step else UNKNOWN_TRAFFIC
        if known != self._context.untouched:
            self._context = replace(self._context, untouched=known)

    def _go_on(self, tier: TierState, at: float) -> Transition:
        """Take the steps that are reached, and the next actions of the strategy."""
        if isinstance(tier.state, AT_A_STEP):
            tier = yield from steps.advance(self._context, tier, at, weights_seen=self.fleet.weights_seen)
        before, actions = self._context, self._next_actions(tier)
        if (actions.admit, actions.warm) != (before.admit, before.warm):
            self._context = replace(before, admit=actions.admit, warm=actions.warm)
        context = self._context
        if actions.admit and not before.admit:
            yield from lifecycle.admit_waiting(context, tier, at)
        for name in actions.readmit:
            yield from lifecycle.readmit(context, tier, self.fleet.members[name], at)
        for name in actions.retire:
            member = self.fleet.members[name]
            if not (member.phase is Phase.ADMITTED and _is_in_doubt(self.settings, tier, at)):
                yield from lifecycle.retire(context, tier, member, at)
        if actions.warm != before.warm:
            yield from lifecycle.time_drains(context, tier, at)
        if (actions.create or actions.heal) and at >= tier.not_before:
            for template in [_source(tier)] * actions.create + [tier.previous or tier.goal] * actions.heal:
                tier = yield from lifecycle.create(context, tier, template, at)
        joined = self.fleet.take_joined()
        if self.settings.weighed:
            given, self._given = self._given, weights.next_weights(context, tier, self._given)
            yield from weights.give(context, tier, given, self._given, joined, at)
        if steps.has_arrived(context, tier, at):
            tier = yield from steps.arrive(tier)
        return tier

    def _next_actions(self, tier: TierState) -> NextActions:
        """The same as at the event before, unless tier or fleet have changed: time alone changes none of them."""
        version, known = self.fleet.version, self._actions
        if known is None or known[0] is not tier or known[1] != version:
            actions = self._actions_of_strategy(tier)
            self._actions = known = tier, version, self._heal_only(tier, actions) if tier.stopped else actions
        return known[2]

    def _actions_of_strategy(self, tier: TierState) -> NextActions:
        settings, fleet, wanted = self.settings, self.fleet, target(self.settings, tier)
        position = tier.position
        if position is None or isinstance(position, Rolling):
            return rolling.next_actions(fleet, wanted)
        if isinstance(position, BLUE_GREEN):
            phase: blue_green.SwitchPhase = "before"
            if isinstance(position, (Baking, Finishing)):
                phase = "baking" if isinstance(position, Baking) else "after"
            hold = isinstance(position, (Preparing, Prepared))
            return blue_green.next_actions(fleet, wanted, phase=phase, hold=hold)
        if canary_step(settings, tier) is not None:
            fresh, beside = fresh_baseline(settings, tier, fleet), settings.canary_beside_all
            percent = share(settings, tier)
            return canary.next_actions(fleet, wanted, share=percent, weighed=beside, fresh=fresh)
        return rolling.next_actions(fleet, wanted)

    def _heal_only(self, tier: TierState, actions: NextActions) -> NextActions:
        """While the tier is stopped nothing begins, a switch neither. Instances that died are replaced all the same."""
        wanted = target(self.settings, tier)
        if isinstance(tier.position, BLUE_GREEN) and not blue_green.begun(self.fleet, wanted):
            return actions._replace(create=0, admit=False)
        missing = wanted.size - self.fleet.count(STAYING) + len(self.fleet.given_up(tier.goal))
        room = wanted.size + wanted.surge - self.fleet.existing
        return actions._replace(readmit=(), retire=(), create=max(0, min(missing, room)), heal=0)


def _is_in_doubt(settings: RolloutSettings, tier: TierState, at: float) -> bool:
    """Whether new instances have died, and the newest one has not served for long enough to stand for the others."""
    rollout = tier.rollout
    return rollout is not None and rollout.deaths > 0 and at < tier.admitted_at + watch_time(settings, rollout)


def _source(tier: TierState) -> str:
    """The template to create from. While stopped, instances that died are replaced from the one known to be good."""
    return (tier.stopped and tier.previous) or tier.goal
