"""The state of one tier: a tagged union, in which every state holds only the fields that mean something in it.

`transitions` has the table by which a tier gets from one state to the next. Refuses to decide anything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Self

from changeover.model.update import Strategy


class StateName(StrEnum):
    """The states that the transition table knows."""

    RESTING = "resting"  # at its template; what dies is replaced
    ROLLING = "rolling"  # replaces instances, with no step left to take
    STEPPING = "stepping"  # canary: at a step that time, weights or the guard end
    HOLDING = "holding"  # canary: at a step that `promote` ends
    PREPARING = "preparing"  # blue-green: creates the new instances beside the old ones
    PREPARED = "prepared"  # blue-green: the new instances are complete; the switch waits for `promote`
    SWITCHING = "switching"  # blue-green: admits the new instances, then takes the old ones out
    BAKING = "baking"  # blue-green: the new instances get all traffic; the old ones are kept running
    FINISHING = "finishing"  # blue-green: no step is left; the old instances drain and stop
    AWAITING_PERMISSION = "awaiting_permission"  # hooks are asked whether the next step may begin
    PAUSED = "paused"  # an operator, the guard or a hook stopped it
    UNDOING = "undoing"  # goes back to the template it came from
    FAILED = "failed"  # could not start, and has no template to go back to


@dataclass(frozen=True)
class Rollout:
    """What every state of a rollout on its way forward shares. A resting tier has none of it."""

    previous: str | None
    """The template to go back to; None: the tier never was complete."""
    strategy: Strategy = "rolling"
    """The strategy it began with."""
    serial_before: int = 0
    """The highest serial before this rollout: instances above it were created for the rollout."""
    admissions: int = 0
    """Instances of the goal that served when the rollout began, and admissions of such instances since."""
    deaths: int = 0
    """Instances of the goal that were lost within the progress deadline of their admission."""
    longest_drain: float = 0.0
    """Seconds of the longest drain of an old instance so far."""


@dataclass(frozen=True)
class Resting:
    """At its template, or healing towards it."""


class _Forward:
    """On its way to its goal."""


class _Position(_Forward):
    @property
    def position(self) -> Self:
        """Where the rollout is."""
        return self


@dataclass(frozen=True)
class Rolling(_Position):
    rollout: Rollout


@dataclass(frozen=True)
class Stepping(_Position):
    rollout: Rollout
    step: int
    """Index in the settings' steps."""
    since: float
    """When the wait of this step began."""


@dataclass(frozen=True)
class Holding(_Position):
    rollout: Rollout
    step: int
    since: float


@dataclass(frozen=True)
class Preparing(_Position):
    rollout: Rollout
    announced: bool = False
    """Whether the new instances were complete once and the switch was announced to the hooks."""
    promoted: bool = False
    """Whether an operator promoted the switch before it could begin."""


@dataclass(frozen=True)
class Prepared(_Position):
    rollout: Rollout


@dataclass(frozen=True)
class Switching(_Position):
    rollout: Rollout


@dataclass(frozen=True)
class Baking(_Position):
    rollout: Rollout
    since: float


@dataclass(frozen=True)
class Finishing(_Position):
    rollout: Rollout


Position = Rolling | Stepping | Holding | Preparing | Prepared | Switching | Baking | Finishing
"""Where a rollout on its way forward is."""


@dataclass(frozen=True)
class AwaitingPermission(_Forward):
    """Nothing new begins until the hooks allow the next step."""

    step: str
    """The step that the hooks are asked about, in words."""
    done: str
    """The step before it, in words; empty before the first."""
    resume_to: Position

    @property
    def rollout(self) -> Rollout:
        return self.resume_to.rollout

    @property
    def position(self) -> Position:
        """Where the rollout goes on."""
        return self.resume_to.position


@dataclass(frozen=True)
class Paused(_Forward):
    """Nothing new begins until an operator resumes it. Drains go on, and instances that die are replaced."""

    reason: str
    resume_to: Position | AwaitingPermission

    @property
    def rollout(self) -> Rollout:
        return self.resume_to.rollout

    @property
    def position(self) -> Position:
        """Where the rollout goes on."""
        return self.resume_to.position


Forward = Position | AwaitingPermission | Paused
"""A rollout on its way to its goal."""


@dataclass(frozen=True)
class Undoing:
    reason: str
    admissions: int = 0
    """Instances of the goal that served when it turned back, and admissions of such instances since."""


@dataclass(frozen=True)
class Failed:
    reason: str


State = Resting | Forward | Undoing | Failed


@dataclass(frozen=True)
class TierState:
    """One tier: its state, and what all states share. The journal stores exactly this, and the instances."""

    goal: str
    """The template that the tier is to run, and the revision of it: `model.revision`."""
    state: State = Resting()
    serial: int = 0
    """The highest serial that an instance was given. Names are never reused."""
    failures: int = 0
    """Of a rollout: failed starts, less the admissions since. At rest: instances of the goal, one after the other, that
    failed to start or died soon after their admission."""
    admitted_at: float = 0.0
    """When an instance of the goal was admitted last."""
    not_before: float = 0.0
    """Backoff: no instance is created before this time."""
    undo_to: str | None = None
    """The template before the last completed rollout: `undo` leads there."""
    retry_to: str | None = None
    """The template of the last rollout that was undone: `retry` leads there."""

    @cached_property
    def forward(self) -> Forward | None:
        """The state, when a rollout is on its way to its goal."""
        return self.state if isinstance(self.state, _Forward) else None

    @cached_property
    def rollout(self) -> Rollout | None:
        """The rollout that is on its way to its goal."""
        forward = self.forward
        return None if forward is None else forward.rollout

    @cached_property
    def position(self) -> Position | None:
        """Where the rollout is, whether or not it is stopped there."""
        forward = self.forward
        return None if forward is None else forward.position

    @cached_property
    def previous(self) -> str | None:
        """The template that a rollout on its way forward goes back to."""
        rollout = self.rollout
        return None if rollout is None else rollout.previous

    @property
    def moving(self) -> bool:
        """A rollout is on its way, forward or back."""
        return self.forward is not None or isinstance(self.state, Undoing)

    @property
    def stopped(self) -> bool:
        """Nothing new begins: it is paused, or awaits permission."""
        return isinstance(self.state, (Paused, AwaitingPermission))

    @property
    def paused(self) -> str:
        """Why it is paused; empty while it is not."""
        return self.state.reason if isinstance(self.state, Paused) else ""

    @property
    def awaiting(self) -> AwaitingPermission | None:
        """The permission that it awaits, paused or not."""
        inner = self.state.resume_to if isinstance(self.state, Paused) else self.state
        return inner if isinstance(inner, AwaitingPermission) else None


def with_rollout(state: Forward, rollout: Rollout) -> Forward:
    """The same state with other facts of its rollout."""
    if isinstance(state, Paused):
        inner = with_rollout(state.resume_to, rollout)
        assert not isinstance(inner, Paused)
        return replace(state, resume_to=inner)
    if isinstance(state, AwaitingPermission):
        return replace(state, resume_to=replace(state.resume_to, rollout=rollout))
    return replace(state, rollout=rollout)
