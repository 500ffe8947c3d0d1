"""The chain file's settings of one tier, in numbers, and the waits of the core. Refuses to decide anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, inf
from typing import Literal

from changeover.model.revision import template_of
from changeover.model.update import Strategy


@dataclass(frozen=True)
class CanaryStep:
    """One step of a canary, in numbers. `share` in percent; `stay` in seconds, None: until promoted."""

    kind: Literal["share", "pause", "analyse"]
    share: int = 0
    stay: float | None = None

    def __str__(self) -> str:
        if self.kind == "share":
            return f"set weight {self.share} %"
        return f"{self.kind} " + ("until promoted" if self.stay is None else f"{self.stay:g} s")

    @property
    def holds(self) -> bool:
        """Only `promote` ends this step."""
        return self.kind == "pause" and self.stay is None


@dataclass(frozen=True)
class RolloutTiming:
    """How long the core waits, and how often it looks, before it acts. Chain files do not set these."""

    retry: float = 2.0
    """Seconds after which a command without visible effect is given again: longer than any command takes."""
    quiet_observations: int = 2
    """Empty observations in a row before an instance counts as drained. One is not enough: a proxy's worker threads
    learn of a removal a moment after its main thread has confirmed it, and may still open one last connection."""
    max_failures: int = 3
    """Fewest failed starts that undo a rollout. When many instances start at once it takes half of them, so that a few
    random failures undo nothing; each admission makes up for one failure."""
    max_backoff: float = 30.0
    """Longest pause, in seconds, between two attempts to replace an instance of a resting tier that keeps failing: an
    operator who fixed the cause does not wait longer than this."""
    settled: float = 600.0
    """Seconds after its admission from which the death of an instance is a single event, and no longer a sign that its
    template keeps dying. Kubernetes ends the backoff of a container after the same time."""


@dataclass(frozen=True)
class RolloutSettings:
    """The chain file's settings of one tier. Counts are instances, times are seconds."""

    tier: str
    size: int
    surge: int
    unavailable: int
    min_ready: float
    progress_deadline: float
    drain_deadline: float
    cut_at_deadline: bool
    strategy: Strategy = "rolling"
    steps: tuple[CanaryStep, ...] = ()
    bake: float = 0.0
    watch: float = 0.0
    """How long the newest instance must have served at the end of a rollout, and after a death before an old one
    leaves; longer after long drains, up to `watch_limit`."""
    watch_limit: float = 0.0
    long_lived_after: float = inf
    """Seconds after its removal from which what a draining instance has open is cut as long-lived, unless it is an
    upload that the instance counts; infinity: never."""
    long_lived_asked_after: float = 0.0
    """Seconds after its removal from which a draining instance is asked to close what it has open; 0: before it."""
    by_load: bool = False
    """Whether the instances with the fewest requests in flight leave first, instead of the oldest."""
    ask_first: bool = False
    """Whether hooks are asked before each step."""
    needs_traffic: bool = False
    """Whether a timed or analysing canary step passes only after requests have reached the new instances."""
    weighed: bool = False
    """Whether every router of the tier can give instances different shares of the requests."""
    hold: bool = False
    """Of blue-green: whether the switch waits for `promote`."""
    fresh_baseline: bool = False
    """Of a canary: whether as many instances of the old template are created anew, to compare with."""
    follows_health: bool = False
    """Whether the routers send an instance requests from when it is healthy, and are not asked to."""
    stop_grace: Mapping[str, float] = field(default_factory=dict)
    """Template -> time from the stop signal to SIGKILL, where it is not the drain deadline: work may go on after its
    response, where no count shows it."""
    timing: RolloutTiming = field(default=RolloutTiming())

    def grace(self, template: str) -> float:
        """Time from the stop signal to SIGKILL."""
        return self.stop_grace.get(template_of(template), self.drain_deadline)

    @property
    def asks_later(self) -> bool:
        """Whether the lame duck comes after the removal. A router that follows health removes because of it."""
        return self.long_lived_asked_after > 0 and not self.follows_health

    @property
    def many_failures(self) -> int:
        """Failures in a row of a resting tier that show a fault of its template. Of many instances some always fail."""
        return max(self.timing.max_failures, ceil(self.size / 2))

    @property
    def canary_beside_all(self) -> bool:
        """Whether a canary runs beside all old instances, weighted. Without surge there is no room for it there."""
        return self.weighed and self.surge > 0
