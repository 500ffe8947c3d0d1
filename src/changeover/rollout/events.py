"""What the engine observed, and what operators, hooks and the guard decided. `at`: seconds on the engine's clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from changeover.model.instance import DeathCost, InFlight
from changeover.model.update import Strategy
from changeover.rollout.tier.actions import Action


@dataclass(frozen=True)
class Event:
    at: float


@dataclass(frozen=True)
class Started(Event):
    """Move the tier to template `goal`; `strategy` None: the one of the settings."""

    goal: str
    strategy: Strategy | None = None


@dataclass(frozen=True)
class ActionRequested(Event):
    """An operator asks for an action; `tier/actions.py` has what follows. `roll` is requested by Started."""

    action: Action
    requester: str = "an operator"
    reason: str = ""


@dataclass(frozen=True)
class DrainEndRequested(Event):
    """An operator asks to end the drain of an instance, whatever is in flight on it."""

    name: str
    requester: str = "an operator"


@dataclass(frozen=True)
class StepAllowed(Event):
    """The hooks have answered whether the next step may begin: `objection` is why not; empty when it may."""

    objection: str = ""


@dataclass(frozen=True)
class GuardJudged(Event):
    """The verdict of the guard on the samples so far: `failed` undoes, `inconclusive` pauses, `passed` ends an
    analysis."""

    verdict: Literal["passed", "failed", "inconclusive"]
    reason: str


@dataclass(frozen=True)
class TrafficSeen(Event):
    """Whether requests have reached the new instances since the step began: `missing` is why not; empty when some
    did."""

    missing: str = ""


@dataclass(frozen=True)
class WeightSeen(Event):
    """The weight that every router has for the instance."""

    name: str
    weight: int


@dataclass(frozen=True)
class InstancePlaced(Event):
    """The platform has created the instance in that place, of several that it spreads a tier over."""

    name: str
    place: str


@dataclass(frozen=True)
class InstanceReady(Event):
    """The instance passes its readiness check."""

    name: str


@dataclass(frozen=True)
class InstanceUnready(Event):
    """The instance fails its readiness check, or does not answer it. `reason`: where more is known."""

    name: str
    reason: str = ""


@dataclass(frozen=True)
class InstanceGone(Event):
    """The process does not exist, or no longer. `reason`: what is known of the cause."""

    name: str
    reason: str = ""
    cost: DeathCost | None = None
    """What its routers know of requests that broke; None: they were not asked."""


@dataclass(frozen=True)
class RouterConfirmed(Event):
    """Every router of the tier agrees: the instance gets new requests (`admitted`), or cannot get any."""

    name: str
    admitted: bool


@dataclass(frozen=True)
class Unconfirmed(Event):
    """A confirmation has been missing for a while. It moves nothing: unknown is never taken for yes."""

    name: str
    source: str
    """The router or instance whose answer is missing, and what it answers instead."""
    silent: bool
    """The source did not answer at all, as against an answer that does not confirm."""


@dataclass(frozen=True)
class InFlightSeen(Event):
    """The requests, connections and uploads that the instance has in flight."""

    name: str
    in_flight: InFlight
    """The highest count of all witnesses."""
    notes: tuple[str, ...] = ()
    """What an operator must know about the counts; each text comes once."""


@dataclass(frozen=True)
class StopSent(Event):
    """The stop signal has been delivered."""

    name: str


@dataclass(frozen=True)
class Tick(Event):
    """Time has passed."""
