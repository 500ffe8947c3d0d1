"""What the engine saw, or somebody asked for. `at` is in seconds on the engine's clock, the only time there is here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from changeover.model.chain import Strategy
from changeover.model.instance import InFlight
from changeover.rollout.tier.actions import Action


@dataclass(frozen=True)
class Event:
    at: float


@dataclass(frozen=True)
class Started(Event):
    """Move the tier to template `goal`; None for `strategy` takes the one in the rules."""

    goal: str
    strategy: Strategy | None = None


@dataclass(frozen=True)
class Asked(Event):
    """Somebody asks for something; `rollout/actions.py` says what comes of it. `roll` is asked by Started."""

    action: Action
    who: str = "somebody"
    why: str = ""


@dataclass(frozen=True)
class Allowed(Event):
    """Those who are asked before a step is taken have answered: `against` says why it must not be, or nothing."""

    against: str = ""


@dataclass(frozen=True)
class GuardSaid(Event):
    """What the guard makes of the samples so far. `failed` undoes, `inconclusive` pauses, `passed` ends an analysis."""

    verdict: Literal["passed", "failed", "inconclusive"]
    reason: str


@dataclass(frozen=True)
class WeightSeen(Event):
    """The weight that every router has for the instance."""

    name: str
    weight: int


@dataclass(frozen=True)
class InstanceReady(Event):
    """The instance answers its readiness check."""

    name: str


@dataclass(frozen=True)
class InstanceUnready(Event):
    """It answers that it is not ready, or does not answer."""

    name: str


@dataclass(frozen=True)
class InstanceGone(Event):
    """There is no such process, or no longer. `reason` is what is known of why."""

    name: str
    reason: str = ""


@dataclass(frozen=True)
class RouterConfirmed(Event):
    """Every router of the tier agrees: the instance gets new requests (`admitted`), or cannot get any."""

    name: str
    admitted: bool


@dataclass(frozen=True)
class Unconfirmed(Event):
    """Nothing is known for a while now of what is waited for; `who` says whose answer is missing, and how.

    It moves nothing: unknown is never taken for yes.
    """

    name: str
    who: str
    silent: bool
    """Nobody answered at all, as against an answer that is not the one waited for."""


@dataclass(frozen=True)
class InFlightSeen(Event):
    """What the instance has in flight."""

    name: str
    in_flight: InFlight


@dataclass(frozen=True)
class StopSent(Event):
    """The stop signal has been delivered."""

    name: str


@dataclass(frozen=True)
class Tick(Event):
    """Time has passed."""
