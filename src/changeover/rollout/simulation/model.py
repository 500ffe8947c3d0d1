"""What a simulation is given and what it returns: the tier around the machine, and the outcome of one rollout."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Literal

from changeover.rollout.simulation.distributions import Constant, Distribution, LogNormal, TrafficModel

OLD, NEW = "old", "new"
"""The templates of a simulated rollout."""


@dataclass(frozen=True)
class SimulatedTier:
    """What surrounds the machine. Times are in seconds; rates are per second and serving instance."""

    start: Distribution = field(default=Constant(10.0))
    """From the command to create an instance until it is ready."""
    start_failures: float = 0.0
    """Share of starts that end with the process gone instead."""
    lifetime: float = inf
    """Mean time between failures of one instance: its process ends, at any point of its life."""
    confirm: Distribution = field(default=Constant(1.0))
    """From a command to the routers until every one of them has confirmed it."""
    stop: Distribution = field(default=Constant(0.2))
    """From the stop signal until the process is gone."""
    verdict: Distribution = field(default=Constant(60.0))
    """Of a canary step that is analysed, or held until it is promoted: how long until that happens."""
    look: float = 0.03
    """How often the engine looks; above 0."""
    uploads: TrafficModel = field(default=TrafficModel(0.02, LogNormal(50e6, 2.0), LogNormal(1e6, 2.0)))
    requests: TrafficModel = field(default=TrafficModel(100.0, LogNormal(0.05, 2.0)))


@dataclass(frozen=True)
class SimulationResult:
    """The outcome of one simulated rollout."""

    outcome: Literal["completed", "undone", "failed", "unfinished"]
    reason: str
    seconds: float
    lower_bound: float | None
    """What an ideal controller would have needed for the same draws (`lower_bound`); None unless completed."""
    peak: int
    """Most instances that existed at once."""
    fewest: int
    """Fewest that served at once, failures included."""
    cut_uploads: int
    cut_requests: int
    """Still in flight when an instance was stopped at its drain deadline."""
    lost_uploads: int
    lost_requests: int
    """In flight on an instance that failed by itself: no rollout could have saved them."""
    failures: int
    """Instances that failed, at their start or later."""
    healed: int
    """Of these, how many had been taken out of the routers by the end."""
    steps: int
    """Events the machine has handled."""

    @property
    def ratio(self) -> float | None:
        """How many times as long as the lower bound it took."""
        return self.seconds / self.lower_bound if self.lower_bound else None
