"""What must never happen, written once, each with its sentence. Numbers are those of the design's list.

`Watch` sits beside a Machine and is shown every event with the commands it led to. It keeps its own account of what is
known and never asks the machine what it thinks, so that a machine that deceives itself is still caught. Tests, the
fuzzer and the simulator use it. A step costs the same however large the fleet is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from changeover.rollout import commands as do
from changeover.rollout import events as on
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.settings import RolloutSettings


class Violation(AssertionError):
    """An invariant did not hold: the machine is wrong."""


@dataclass(slots=True)
class _Known:
    ready_since: float | None = None
    offered: bool = False
    """The controller asked a router to admit it, even if the router never sent traffic."""
    admitted: bool = False
    removed_at: float | None = None
    busy: bool | None = None
    uploads: bool = False
    stopped: bool = False
    cut_requested: bool = False
    """An operator asked to end its drain since it was removed."""


@dataclass
class Watch:
    """Raises Violation at the first command that must not have been given."""

    rules: RolloutSettings
    seen: dict[str, _Known] = field(default_factory=dict)
    serving: int = 0
    """How many of them are admitted."""
    blue_green: bool = False
    """The last rollout that was started is one of both colours at once: its ceiling is another."""

    @classmethod
    def over(cls, rules: RolloutSettings, fleet: Fleet) -> Watch:
        """A watch over instances that serve already."""
        serving = [member for member in fleet if member.phase is Phase.ADMITTED]
        seen = {m.name: _Known(ready_since=m.since - rules.min_ready, offered=True, admitted=True) for m in serving}
        return cls(rules, seen, len(seen))

    def step(self, event: on.Event, commands: Iterable[do.Command]) -> None:
        """Take in one event and check what followed."""
        self._learn(event)
        for command in commands:
            self._judge(command, event.at)

    def _learn(self, event: on.Event) -> None:
        if isinstance(event, on.Started):
            self.blue_green = (event.strategy or self.rules.strategy) == "blue-green"
        known = self.seen.get(getattr(event, "name", ""))
        if known is None:
            return
        match event:
            case on.InstanceReady():
                known.ready_since = event.at if known.ready_since is None else known.ready_since
            case on.InstanceUnready():
                known.ready_since = None
                self._serves(known, False)
            case on.RouterConfirmed(admitted=True):
                self._serves(known, True)
                known.removed_at = None
            case on.RouterConfirmed(admitted=False):
                self._serves(known, False)
                if known.removed_at is None:
                    known.removed_at, known.busy = event.at, None  # what was seen before it was out proves nothing
            case on.InFlightSeen():
                known.busy, known.uploads = event.in_flight.busy, bool(event.in_flight.uploads)
            case on.DrainEndRequested():
                known.cut_requested = known.removed_at is not None
            case on.InstanceGone():
                self._serves(known, False)
                del self.seen[event.name]

    def _serves(self, known: _Known, does: bool) -> None:
        self.serving += does - known.admitted
        known.admitted = does

    def _judge(self, command: do.Command, at: float) -> None:
        match command:
            case do.CreateInstance():
                self.seen[command.name] = _Known()
                ceiling = self.rules.size + max(self.rules.surge, self.rules.size if self.blue_green else 0)
                if len(self.seen) > ceiling:
                    raise Violation(
                        f"2: existing instances, draining ones included, never exceed size + max_surge "
                        f"(blue-green: 2 * size): {len(self.seen)} > {ceiling} with {command.name}"
                    )
            case do.Remove() if (known := self.seen.get(command.name)) and known.admitted:
                self._serves(known, False)
                floor = self.rules.size - self.rules.unavailable
                if self.serving < floor:
                    raise Violation(
                        f"1: serving instances never fall below size - max_unavailable: "
                        f"{self.serving} < {floor} without {command.name}"
                    )
            case do.Admit() if known := self.seen.get(command.name):
                if known.ready_since is None or at - known.ready_since < self.rules.min_ready - 1e-6:
                    raise Violation(
                        f"4: an instance gets traffic only after it was ready for min_ready: {command.name}"
                    )
                known.offered, known.removed_at = True, None
            case do.LameDuck(on=False) if known := self.seen.get(command.name):
                known.ready_since = known.removed_at = known.busy = None
                known.cut_requested = False
            case do.Stop() if known := self.seen.get(command.name):
                self._judge_stop(command, known, at)

    def _judge_stop(self, command: do.Stop, known: _Known, at: float) -> None:
        if known.stopped:
            return
        known.stopped = True
        if known.removed_at is None:
            raise Violation(
                f"3: an instance is not stopped before every router has confirmed its removal: {command.name}"
            )
        deadline = known.removed_at + self.rules.drain_deadline
        may_cut = known.cut_requested or (self.rules.cut_at_deadline and at >= deadline)
        may_cut |= not known.uploads and at >= known.removed_at + self.rules.long_lived_after
        if known.offered and known.busy is not False and not may_cut:
            raise Violation(
                f"3: an instance is not stopped while a request is in flight on it before its deadline: {command.name}"
            )
