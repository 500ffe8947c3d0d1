"""Which weight every instance has at its routers, and whether they have been seen to have it."""

from __future__ import annotations

from changeover.rollout import events as on
from changeover.rollout.members.fleet import DEFAULT_WEIGHT, Member
from changeover.rollout.members.instances import Instances
from changeover.rollout.members.phases import STAYING, Phase
from changeover.rollout.strategies import canary
from changeover.rollout.tier.context import TierContext


class Weights:
    """Gives weights as the share of the moment asks for, and looks at nobody while that stays the same."""

    def __init__(self, here: TierContext, instances: Instances) -> None:
        self._here = here
        self._instances = instances
        self._weighing = any(member.weight != DEFAULT_WEIGHT for member in here.fleet)
        self._given: tuple[str, int, int] | None = None
        """The goal, and the weights that its instances and the others have been given."""
        self._unseen = {member.name for member in here.fleet if member.weight != member.weight_seen}

    @property
    def seen(self) -> bool:
        """Whether every weight that was given has been seen."""
        return not self._unseen

    def give(self, at: float) -> None:
        """Give every serving instance the weight that the share of the moment asks for."""
        joined, self._here.fleet.joined = self._here.fleet.joined, []
        if not self._here.rules.weighed:
            return
        new = old = DEFAULT_WEIGHT
        if self._here.step is not None and 0 < self._here.share < 100:
            new, old = canary.weights(self._here.fleet, self._here.want, self._here.share)
        elif not self._weighing:
            return
        self._weighing = (new, old) != (DEFAULT_WEIGHT, DEFAULT_WEIGHT)
        given, self._given = self._given, (self._here.course.goal, new, old)
        for member in joined if given == self._given else self._here.fleet.where(*STAYING):
            weight = new if member.template == self._here.course.goal else old
            if weight != member.weight:
                member.weight = weight
                self._here.fleet.touch(member)
                self._unseen.add(member.name)
                if member.phase is Phase.ADMITTED:
                    self._instances.ask(member, at)
                    self._here.fleet.retime([member])

    def see(self, member: Member, event: on.WeightSeen) -> None:
        """Take in the weight that every router has for a member."""
        if member.weight_seen != event.weight:
            member.weight_seen = event.weight
            self._here.fleet.touch(member)
        if member.weight == event.weight:
            self._unseen.discard(member.name)
        else:
            self._unseen.add(member.name)
            self._here.fleet.retime([member])

    def forget(self, member: Member) -> None:
        """It is gone."""
        self._unseen.discard(member.name)
