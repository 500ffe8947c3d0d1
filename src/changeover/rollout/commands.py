"""What the engine is to do. A command performed twice has the effect of one performed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Command:
    pass


@dataclass(frozen=True)
class CreateInstance(Command):
    """Launch an instance of that name from that template. Names are never reused."""

    name: str
    template: str


@dataclass(frozen=True)
class Admit(Command):
    """Have every router of the tier send traffic to the instance, with that weight where routers have weights."""

    name: str
    weight: int = 100


@dataclass(frozen=True)
class SetWeight(Command):
    """Change the share of the traffic that an admitted instance gets."""

    name: str
    weight: int


@dataclass(frozen=True)
class Refuse(Command):
    """The request of an operator is refused for this reason."""

    reason: str


@dataclass(frozen=True)
class LameDuck(Command):
    """Have the instance answer `not ready` and close pooled connections (`on`), or stop doing so."""

    name: str
    on: bool


@dataclass(frozen=True)
class Remove(Command):
    """Take the instance out of every router of the tier. Its requests in flight go on."""

    name: str


@dataclass(frozen=True)
class Stop(Command):
    """End the process: with the hop's graceful signal, or (`kill`) with SIGKILL, with every process it started."""

    name: str
    kill: bool = False


@dataclass(frozen=True)
class WakeAt(Command):
    """Send a Tick at that time."""

    at: float


@dataclass(frozen=True)
class Note(Command):
    """A message to the operator."""

    text: str
    name: str = ""
    level: Literal["info", "warning"] = "info"
    kind: Literal["note", "long-lived"] = "note"
    """`long-lived`: it is part of the outcome, as connections that were cut by the tier's own policy for them."""


@dataclass(frozen=True)
class StepReached(Command):
    """`step` of the strategy is next, `done` is the one before it. Empty: there is none.

    Where the settings say `ask_first`, nothing new begins until the hooks allow it (`StepAllowed`).
    """

    step: str
    done: str


@dataclass(frozen=True)
class Finish(Command):
    """The rollout has ended. `undone`: the tier runs the template it came from again, for this reason."""

    outcome: Literal["completed", "undone", "failed"]
    reason: str = ""
