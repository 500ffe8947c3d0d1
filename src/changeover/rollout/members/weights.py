"""Which weight every instance is to have at its routers. While the share stays the same, only new instances are
looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from changeover.rollout import events as on
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.lifecycle import Commands, command
from changeover.rollout.members.member import DEFAULT_WEIGHT, Member
from changeover.rollout.members.phases import STAYING, Phase
from changeover.rollout.strategies import canary
from changeover.rollout.tier.context import Context, canary_step, share, target
from changeover.rollout.tier.state import TierState


@dataclass(frozen=True)
class GivenWeights:
    """The weights that instances of the goal and all others were given last."""

    goal: str
    new: int
    old: int

    @property
    def equal(self) -> bool:
        """Every instance gets the same share."""
        return self.new == self.old == DEFAULT_WEIGHT


def given_before(tier: TierState, fleet: Fleet) -> GivenWeights | None:
    """What the instances show of the weights that were given; None: they have weights that do not say which."""
    if any(member.weight != DEFAULT_WEIGHT for member in fleet):
        return None
    return GivenWeights(tier.goal, DEFAULT_WEIGHT, DEFAULT_WEIGHT)


def next_weights(context: Context, tier: TierState, given: GivenWeights | None) -> GivenWeights | None:
    """The weights that the share of the moment asks for."""
    settings = context.settings
    percent = share(settings, tier)
    if canary_step(settings, tier) is not None and 0 < percent < 100:
        return GivenWeights(tier.goal, *canary.weights(context.fleet, target(settings, tier), percent))
    if given is not None and given.equal:
        return given
    return GivenWeights(tier.goal, DEFAULT_WEIGHT, DEFAULT_WEIGHT)


def give(
    context: Context,
    tier: TierState,
    given: GivenWeights | None,
    wanted: GivenWeights | None,
    joined: Iterable[Member],
    at: float,
) -> Commands:
    """Give instances the wanted weights: all of them when the weights change, else those that joined."""
    if wanted is None or (wanted.equal and wanted is given):
        return
    fleet = context.fleet
    for member in joined if wanted == given else fleet.where(*STAYING):
        weight = wanted.new if member.template == tier.goal else wanted.old
        if weight != member.weight:
            fleet.set_weight(member, weight)
            if member.phase is Phase.ADMITTED:
                yield from command(context, tier, member, at)
                fleet.retime([member])


def see(fleet: Fleet, member: Member, event: on.WeightSeen) -> None:
    """Take in the weight that every router has for the instance."""
    fleet.see_weight(member, event.weight)
    if member.weight != event.weight:
        fleet.retime([member])
