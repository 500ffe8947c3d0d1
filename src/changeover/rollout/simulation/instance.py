"""One simulated instance and the requests on it. Requests are drawn when they matter: when the traffic stops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from changeover.rollout.simulation.distributions import Random
from changeover.rollout.simulation.model import SimulatedTier


@dataclass(slots=True, eq=False)
class SimulatedInstance:
    """The truth about one instance; the machine knows only what it observes."""

    name: str
    template: str
    place: int
    """Where it stands in the list of those that may fail."""
    alive: bool = True
    up: bool = False
    """It is ready."""
    unconfirmed: bool | None = None
    """The membership that its routers were given last and have not confirmed yet."""
    changes: int = 0
    """How often its membership was changed: a confirmation of an earlier change is void."""
    counts: bool = False
    """It counts as serving: admitted, and not removed since."""
    since: float | None = None
    """Since when it gets traffic; None while it gets none."""
    uploads: Sequence[float] = ()
    requests: Sequence[float] = ()
    """When each ends that was in flight when the traffic stopped."""
    stopped: bool = False

    def stop_traffic(self, tier: SimulatedTier, random: Random, now: float) -> None:
        """From now on no new request arrives; those that arrived and are not done yet are drawn here."""
        if self.since is None:
            return
        age = now - self.since
        self.since = None
        self.uploads = _left(self.uploads, tier.uploads.in_flight(random, age), now)
        self.requests = _left(self.requests, tier.requests.in_flight(random, age), now)

    def unfinished(self, now: float) -> tuple[int, int]:
        """Uploads and other requests in flight."""
        return sum(end > now for end in self.uploads), sum(end > now for end in self.requests)

    @property
    def last_end(self) -> float:
        """When the last request in flight ends; 0 without any."""
        return max((*self.uploads, *self.requests), default=0.0)


def _left(before: Sequence[float], new: Sequence[float], now: float) -> list[float]:
    return [end for end in before if end > now] + [now + seconds for seconds in new]
