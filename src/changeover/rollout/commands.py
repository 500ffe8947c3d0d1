"""What the engine is to do. Every command may be performed twice with the effect of once."""

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
    """Let every router of the tier send it traffic, with that weight where they can weigh."""

    name: str
    weight: int = 100


@dataclass(frozen=True)
class SetWeight(Command):
    """Give an instance that gets traffic another share of it."""

    name: str
    weight: int


@dataclass(frozen=True)
class Refuse(Command):
    """What was asked is not done; `reason` says why not."""

    reason: str


@dataclass(frozen=True)
class LameDuck(Command):
    """Make the instance answer `not ready` and shed pooled connections (`on`), or stop doing so."""

    name: str
    on: bool


@dataclass(frozen=True)
class Remove(Command):
    """Take it out of every router of the tier. What it has in flight stays untouched."""

    name: str


@dataclass(frozen=True)
class Stop(Command):
    """End the process: with the hop's graceful signal, or (`kill`) at once and with everything it started."""

    name: str
    kill: bool = False


@dataclass(frozen=True)
class WakeAt(Command):
    """Send a Tick at that time."""

    at: float


@dataclass(frozen=True)
class Note(Command):
    """Something a person should read."""

    text: str
    name: str = ""
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True)
class StepReached(Command):
    """A step of the strategy is next; `done` is the one before it. Empty: none, at the first and after the last.

    Where the rules say so nothing new is begun until somebody has allowed it: a hook that must be asked first.
    """

    step: str
    done: str


@dataclass(frozen=True)
class Finish(Command):
    """The tier has come to rest. `undone`: it serves the template it came from again; `reason` says why."""

    outcome: Literal["completed", "undone", "failed"]
    reason: str = ""
