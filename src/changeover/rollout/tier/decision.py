"""What follows from one event: all that the engine, the simulator and the rehearsal need of it."""

from __future__ import annotations

from typing import NamedTuple

from changeover.rollout import commands as do
from changeover.rollout.members.fleet import Moved
from changeover.rollout.members.member import Member
from changeover.rollout.tier.actions import Answer
from changeover.rollout.tier.state import TierState


class Decision(NamedTuple):
    commands: tuple[do.Command, ...]
    """To be performed, in this order, after the decision was written down."""
    moved: tuple[Moved, ...]
    """Steps of instances along the phase table."""
    touched: tuple[Member, ...]
    """Instances that are new, or changed without a step."""
    state: TierState
    """The tier after the event."""
    state_changed: bool

    @property
    def is_empty(self) -> bool:
        """Nothing changed and nothing is to be done."""
        return not (self.commands or self.moved or self.touched or self.state_changed)

    @property
    def refusal(self) -> Answer | None:
        """The answer to the request that the event was, where it is refused."""
        return next((Answer(False, one.reason) for one in self.commands if isinstance(one, do.Refuse)), None)
