"""What the chain file says of one tier, in numbers, and where the tier is going: data, and nothing that decides."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from changeover.model.chain import Strategy


class Status(StrEnum):
    RESTING = "resting"  # at its goal, or healing towards it
    ROLLING = "rolling"  # on its way to a new goal
    UNDOING = "undoing"  # on its way back
    FAILED = "failed"  # its goal cannot be reached and there is nothing to go back to


@dataclass(frozen=True)
class Step:
    """One step of a canary, in numbers. `share` in percent; `stay` in seconds, None: until promoted."""

    kind: Literal["share", "pause", "analyse"]
    share: int = 0
    stay: float | None = None

    def __str__(self) -> str:
        if self.kind == "share":
            return f"set weight {self.share} %"
        return f"{self.kind} " + ("until promoted" if self.stay is None else f"{self.stay:g} s")


@dataclass(frozen=True)
class RolloutSettings:
    """What the chain file says of one tier, in numbers: instances and seconds."""

    tier: str
    size: int
    surge: int
    unavailable: int
    min_ready: float
    progress_deadline: float
    drain_deadline: float
    cut_at_deadline: bool
    strategy: Strategy = "rolling"
    steps: tuple[Step, ...] = ()
    bake: float = 0.0
    by_load: bool = False
    ask_first: bool = False
    """Whether somebody is to be asked before each step is taken."""
    weighed: bool = False
    """Whether every router of the tier can give instances different shares of the requests."""
    hold: bool = False
    """Of blue-green: whether the switch waits until somebody promotes it."""
    fresh_baseline: bool = False
    """Of a canary: whether as many instances of the old template are created anew, to be compared with."""

    @property
    def beside(self) -> bool:
        """Whether a canary stands beside all old instances, weighted. Without surge there is no room for it there."""
        return self.weighed and self.surge > 0


@dataclass(frozen=True)
class Course:
    """Where the tier is going. `previous` is the way back (None: it never was whole); `reason` why it was taken."""

    goal: str
    previous: str | None = None
    status: Status = Status.RESTING
    reason: str = ""
    serial: int = 0
    failures: int = 0
    """Starts that failed, less those that went well since."""
    admitted_at: float = 0.0
    """When an instance of the goal was admitted last."""
    not_before: float = 0.0
    deaths: int = 0
    """Instances of the goal that were lost within the progress deadline of their admission, in this rollout."""
    admissions: int = 0
    """How many instances of the goal served when it was set, and how often one was admitted since."""
    before_first: int = 0
    """The serial before that of the first instance that was created for this rollout."""
    strategy: Strategy = "rolling"
    step: int = 0
    """Of a canary: the step it is at. Of blue-green: 0 until the switch, 1 while baking, 2 after."""
    step_at: float = 0.0
    """When that step began to be waited in."""
    asked: bool = False
    """Of blue-green: whether the switch was announced, to whoever is to be asked first."""
    promoted: bool = False
    """Of blue-green: whether somebody promoted the switch."""
    asking: str = ""
    """The step that is not taken before somebody who is being asked has allowed it; empty while nobody is."""
    after: str = ""
    """The step before that one."""
    paused: str = ""
    """Who or what paused it, and why; empty while it goes on."""
    before: str | None = None
    """The template before the last completed rollout: where `undo` leads."""
    tried: str | None = None
    """The template of the last rollout that was undone: what `retry` tries again."""
