"""One instance as the core knows it: what was seen of it and when, and what follows from that alone.

Refuses to count or to order: the fleet does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from changeover.model.instance import InFlight
from changeover.rollout.members.phases import STARTING, Phase

KILLED = "killed"
"""Key of `Member.times`: when it was killed, still running at the end of its stop grace."""
LONG_LIVED = "long-lived"
"""Key of `Member.times`: when its long-lived connections were cut, with nothing else in flight."""
ASKED = "asked to close"
"""Key of `Member.times`: when it was asked to close its long-lived connections, some time after its removal."""
EXPOSED = "exposed"
"""Key of `Member.times`: from when on routers may have sent it requests, before any of them confirmed that it does."""
DEFAULT_WEIGHT = 100
"""Weight of an instance when all are to get the same."""


@dataclass(slots=True)
class Member:
    """One instance as the core knows it. Times are seconds on the engine's clock."""

    name: str
    template: str
    """Its template and the revision of it: `model.revision`."""
    serial: int
    phase: Phase = Phase.CREATING
    times: dict[str, float] = field(default_factory=dict)
    """When each phase was last entered."""
    patience_from: float = 0.0
    """From when its start is measured against the progress deadline. A router that is silent is not its fault."""
    asked_at: float = 0.0
    """When the commands of the present phase were last given."""
    deadline: float | None = None
    """When its drain is over whatever is left; None while not draining."""
    in_flight: InFlight | None = None
    last_busy: float | None = None
    """When it was last seen with something in flight, while leaving or draining."""
    quiet: int = 0
    """Observations in a row, since removal was confirmed, that found nothing in flight."""
    overdue: bool = False
    """Its deadline passed and the policy is to wait."""
    cut: str = ""
    """What was still in flight when it was cut at its deadline, or died while it drained, in words."""
    weight: int = DEFAULT_WEIGHT
    """Share of the traffic it is to get, in proportion to the weights of the others."""
    weight_seen: int = DEFAULT_WEIGHT
    """The weight that its routers were last seen to have."""
    served: bool = False
    """It has been admitted at least once."""
    unready: str = ""
    """Why its last readiness check failed, where that is known."""
    place: str = ""
    """The place that it is in, of several that its platform spreads a tier over."""
    given_up: bool = False
    """It did not start within the progress deadline, and is not to come back."""

    @property
    def since(self) -> float:
        return self.times.get(self.phase, 0.0)

    @property
    def killed(self) -> bool:
        """It still ran at the end of its stop grace, and work of it may have been lost."""
        return KILLED in self.times

    @property
    def may_carry(self) -> bool:
        """Whether requests may be under way on it."""
        return self.exposed and self.phase not in (Phase.FAILED, Phase.GONE) and Phase.DRAINED not in self.times

    @property
    def exposed(self) -> bool:
        """Whether routers may ever have sent it requests: some do from the command to admit it on, or from when their
        own check passes. One that an older version adopted was admitted, and is not noted to have served."""
        return self.served or EXPOSED in self.times or Phase.ADMITTED in self.times

    @property
    def died(self) -> float | None:
        """When it ended by itself after it had served, with whatever it had in flight; None: it did not."""
        if not self.served or Phase.DRAINED in self.times:
            return None
        return self.times.get(Phase.FAILED, self.times.get(Phase.GONE))

    @property
    def returns(self) -> bool:
        """It was on its way out and is to stay after all, and has not been admitted since."""
        left = self.times.get(Phase.LEAVING)
        return self.phase in STARTING and left is not None and left >= self.times.get(Phase.ADMITTED, left)

    @property
    def load(self) -> int:
        """How much it was last seen to have in flight."""
        return self.in_flight.weight if self.in_flight else 0
