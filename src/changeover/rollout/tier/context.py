"""What a decision depends on besides the tier's state and the event: settings, instances, and the gates of the moment.

Everything here is a question; nothing is decided and nothing changes.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from math import inf

from changeover.model.revision import is_restart, template_of
from changeover.rollout import commands as do
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import STAYING, Phase
from changeover.rollout.strategies import blue_green
from changeover.rollout.strategies.next_actions import Target
from changeover.rollout.tier.settings import CanaryStep, RolloutSettings
from changeover.rollout.tier.state import Baking, Holding, Prepared, Preparing, Resting, Rollout, Stepping, TierState

Transition = Generator[do.Command, None, TierState]
"""A function of state and event: it yields the commands that follow and returns the next state."""


@dataclass(frozen=True)
class Context:
    """One tier around its state."""

    settings: RolloutSettings
    fleet: Fleet
    """The machine owns it and changes it in place: it is indexed, for tiers of ten thousand instances."""
    admit: bool = True
    """Whether ready instances of the goal may get traffic now."""
    warm: bool = False
    """Whether drained instances of the previous template are kept running."""

    untouched: str = ""
    """Why no request has reached the new instances since the canary step began; empty when some did."""

    def holds_back(self, tier: TierState, member: Member) -> bool:
        """The instance waits for the others of its template before it gets traffic."""
        return not self.admit and member.template == tier.goal

    def needed(self, member: Member) -> bool:
        """Whether a draining instance, ready when it left, is not to be stopped: it may be readmitted by an undo, and
        none of those that replaced it is ready."""
        was_ready = member.times.get(Phase.ADMITTED, -inf) >= member.times.get(Phase.CREATING, 0.0)
        return was_ready and self.fleet.serving == 0 and self.fleet.unready > 0

    def keeps_warm(self, tier: TierState, member: Member) -> bool:
        """The instance is kept running, drained, while a rollout may still go back to it."""
        return self.warm and member.template == tier.previous


def target(settings: RolloutSettings, tier: TierState) -> Target:
    """What strategies are asked with."""
    return Target(tier.goal, settings.size, settings.surge, settings.unavailable, settings.by_load)


def step_at(settings: RolloutSettings, index: int) -> CanaryStep | None:
    """The canary step with that index; None after the last."""
    return settings.steps[index] if index < len(settings.steps) else None


def canary_step(settings: RolloutSettings, tier: TierState) -> CanaryStep | None:
    """The canary step that the tier is at, stopped or not."""
    position = tier.position
    return step_at(settings, position.step) if isinstance(position, (Stepping, Holding)) else None


def share(settings: RolloutSettings, tier: TierState) -> int:
    """The percentage of the traffic that the goal is to get now."""
    position = tier.position
    if not isinstance(position, (Stepping, Holding)) or step_at(settings, position.step) is None:
        return 100
    shares = [step.share for step in settings.steps[: position.step + 1] if step.kind == "share"]
    return shares[-1] if shares else 0


def fresh_baseline(settings: RolloutSettings, tier: TierState, fleet: Fleet) -> int | None:
    """How many instances of the old template were created for this rollout and stay; None: no baseline is wanted."""
    if not settings.fresh_baseline or tier.rollout is None:
        return None
    previous, first = tier.rollout.previous, tier.rollout.serial_before + 1
    old = f"{settings.tier}-{template_of(previous or '')}"
    created = filter(None, (fleet.get(f"{old}-{n}") for n in range(first, tier.serial + 1)))
    return sum(member.template == previous and member.phase in STAYING for member in created)


def step_ends(settings: RolloutSettings, tier: TierState) -> float:
    """When time alone ends what the tier waits for; infinity where it does not."""
    match tier.position:
        case Baking(since=since):
            return since + settings.bake
        case Stepping(step=index, since=since):
            step = step_at(settings, index)
            return inf if step is None or step.stay is None else since + step.stay
        case _:
            return inf


def watch_time(settings: RolloutSettings, rollout: Rollout) -> float:
    """How long the newest instance of a rollout must have served before the rollout is complete.

    As long as the longest drain: that is how long the longest requests take, and a version that dies at the end of one
    shows it in no shorter time.
    """
    return max(settings.watch, min(rollout.longest_drain, settings.watch_limit))


def failures_in_a_row(settings: RolloutSettings, tier: TierState, at: float) -> int:
    """Failures of a resting tier without an instance in between that went on serving."""
    survived = tier.admitted_at >= tier.not_before and at >= tier.admitted_at + settings.timing.settled
    return 0 if survived else tier.failures


def degraded(settings: RolloutSettings, tier: TierState, serving: int, at: float) -> str:
    """What is wrong with a resting tier, in words; empty when nothing is. `serving`: instances that serve now."""
    if not isinstance(tier.state, Resting):
        return ""
    failures = failures_in_a_row(settings, tier, at)
    if failures >= settings.many_failures:
        return f"instances of {template_of(tier.goal)} keep failing: {failures} in a row{way_back(settings, tier)}"
    return f"{serving} of {settings.size} instances serve" if serving < settings.size else ""


def way_back(settings: RolloutSettings, tier: TierState) -> str:
    """How an operator gets back to the template before the last completed rollout; empty where there is none."""
    if not tier.undo_to or is_restart(tier.undo_to, tier.goal):
        return ""  # the code that ran before a restart is not there any more
    return f"; `changeover undo {settings.tier}` returns to {template_of(tier.undo_to)}"


def holds_switch(settings: RolloutSettings, tier: TierState) -> bool:
    """Of blue-green: only `promote` may begin the switch."""
    position = tier.position
    return settings.hold and (
        isinstance(position, Prepared) or (isinstance(position, Preparing) and not position.promoted)
    )


def is_complete(settings: RolloutSettings, tier: TierState, fleet: Fleet) -> bool:
    """Of blue-green: all new instances are ready."""
    return blue_green.complete(fleet, target(settings, tier))
