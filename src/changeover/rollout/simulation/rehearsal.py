"""What a rollout will do, found by doing it in virtual time with the tier as it is now.

The same Machine decides; the names, the order and the times are those that the engine will get. Nothing fails here,
routers confirm at once, operators promote at once and guards pass at once: `simulate` has the chances. Uploads that
begin later are left out; those in flight now go on at the rate that they have had so far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf
from operator import attrgetter
from typing import Literal

from changeover.model.instance import InFlight
from changeover.model.update import Strategy
from changeover.rollout import commands as do
from changeover.rollout import events as on
from changeover.rollout.agenda import Agenda
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.phases import Phase
from changeover.rollout.simulation.lower_bound import lower_bound
from changeover.rollout.tier.actions import Action, TierStatus
from changeover.rollout.tier.context import watch_time
from changeover.rollout.tier.machine import Machine
from changeover.rollout.tier.settings import RolloutSettings
from changeover.rollout.tier.state import Holding, Stepping, TierState

MAX_IDLE_TICKS = 20
"""Ticks in a row without effect, after which a rollout counts as one that never ends."""

_BUSY = InFlight(requests=1, connections=1)
_IDLE = InFlight(requests=0, connections=0)


What = Literal["create", "admit", "weight", "drain", "stop", "step", "wait", "note", "finish"]


@dataclass(frozen=True)
class Planned:
    """One thing that will be done. `at`: seconds from the beginning of the rollout."""

    at: float
    what: What
    text: str
    instance: str = ""


@dataclass(frozen=True)
class Rehearsal:
    """The rollout of one tier as it would go. Times are seconds from its beginning."""

    strategy: Strategy
    planned: tuple[Planned, ...]
    leaves: Mapping[str, float]
    """When each instance that leaves begins to leave."""
    seconds: float
    lower_bound: float
    """The time it would take if nothing were in flight."""
    peak: int
    waits_for: tuple[str, ...]
    """What the rehearsal takes to happen at once although it takes time: promotions, analyses, hooks."""
    outcome: str
    """`completed`, or why it never ends."""
    watch: float
    """How long the newest instance must have served at the end. `seconds` includes it."""


def rehearse(
    settings: RolloutSettings,
    tier: TierState,
    fleet: Fleet,
    started: on.Started,
    *,
    start: float,
    drain: Callable[[str, float], float],
) -> Rehearsal:
    """Rehearse a rollout. `tier` and `fleet` are those of a resting tier; `fleet` is changed.

    `start`: seconds from creating an instance until it is ready. `drain(name, at)`: seconds that an instance of that
    name needs to get empty when it begins to leave `at` seconds after the beginning.
    """
    return _RehearsedRollout(settings, tier, fleet, started, start, drain).run()


class _RehearsedRollout:
    def __init__(
        self,
        settings: RolloutSettings,
        tier: TierState,
        fleet: Fleet,
        started: on.Started,
        start: float,
        drain: Callable[[str, float], float],
    ) -> None:
        # What is in flight here are uploads, and those are never cut as long-lived.
        self._machine = Machine(replace(settings, long_lived_after=inf), tier, fleet)
        self._began = self._now = started.at
        self._start, self._drain = start, drain
        self._coming = Agenda[on.Event]()
        self._drains = Agenda[str]()
        """When each instance that drains is to be looked at: when its drain begins, and when it is empty."""
        self._planned: list[Planned] = []
        self._leaves: dict[str, float] = {}
        self._empty: dict[str, float] = {}
        self._weights: dict[str, int] = {}
        self._waits_for: list[str] = []
        self._peak = fleet.existing
        self._finish: do.Finish | None = None
        self._watch = 0.0
        self._feed(started)
        rollout = self._machine.tier.rollout
        self._strategy: Strategy = "rolling" if rollout is None else rollout.strategy

    def run(self) -> Rehearsal:
        settings, idle = self._machine.settings, 0
        while self._finish is None and idle < MAX_IDLE_TICKS:
            if (coming := self._coming.next) < inf:
                self._now, events, idle = coming, self._coming.take(), 0
            else:
                self._now += settings.timing.retry
                events, idle = [on.Tick(self._now)], idle + 1
            for event in events:
                if self._finish is None:
                    self._feed(event)
                    if isinstance(event, on.Tick):
                        self._look()
        return Rehearsal(
            strategy=self._strategy,
            planned=tuple(self._planned),
            leaves=self._leaves,
            seconds=self._now - self._began,
            lower_bound=self._lower_bound(),
            peak=self._peak,
            waits_for=tuple(self._waits_for),
            outcome=self._finish.outcome if self._finish else self._machine.tier.paused or "it never ends",
            watch=self._watch,
        )

    def _lower_bound(self) -> float:
        settings = replace(self._machine.settings, strategy=self._strategy)
        pauses = [step.stay for step in settings.steps if step.kind == "pause" and step.stay is not None]
        starts = [self._start] * sum(one.what == "create" for one in self._planned)
        held = sum(pauses) if self._strategy == "canary" else 0.0
        return held + lower_bound(settings, starts, [0.0] * len(self._leaves))

    def _feed(self, event: on.Event) -> None:
        commands = self._machine.handle(event).commands
        self._peak = max(self._peak, self._machine.fleet.existing)
        if (rollout := self._machine.tier.rollout) is not None:
            self._watch = watch_time(self._machine.settings, rollout)
        for command in commands:
            if isinstance(command, do.Note) and isinstance(event, on.Started):
                self._plan("note", command.text)  # the requested strategy is not possible; later notes repeat steps
            self._perform(command)
        self._let_pass()

    def _perform(self, command: do.Command) -> None:
        now = self._now
        match command:
            case do.WakeAt():
                self._later(on.Tick(max(now, command.at)))
            case do.CreateInstance(name, template):
                self._plan("create", template, name)
                self._later(on.InstanceReady(now + self._start, name))
            case do.Admit(name, weight):
                self._plan("admit", f"with weight {weight}" if self._machine.settings.weighed else "", name)
                self._weights[name] = weight
                self._later(on.RouterConfirmed(now, name, admitted=True))
                if self._machine.settings.weighed:
                    self._later(on.WeightSeen(now, name, weight))
            case do.SetWeight(name, weight):
                if self._weights.get(name) != weight:
                    self._plan("weight", str(weight), name)
                self._weights[name] = weight
                self._later(on.WeightSeen(now, name, weight))
            case do.Remove(name):
                self._remove(name)
            case do.Stop(name):
                member = self._machine.fleet.get(name)
                self._plan("stop", "at its drain deadline" if member is not None and member.cut else "", name)
                self._later(on.StopSent(now, name))
                self._later(on.InstanceGone(now, name))
            case do.StepReached(step) if step:
                self._plan("step", step)
            case do.Finish(outcome):
                self._finish = command
                self._plan("finish", outcome)

    def _remove(self, name: str) -> None:
        if name in self._leaves:
            return
        at = self._leaves[name] = self._now - self._began
        empty = self._empty[name] = self._now + self._drain(name, at)
        self._plan("drain", "", name)
        self._later(on.RouterConfirmed(self._now, name, admitted=False))
        self._drains.add(self._now, name)
        if empty < inf:
            self._later(on.Tick(empty))
            self._drains.add(empty, name)

    def _look(self) -> None:
        """At those that begin to drain, and at those that are empty until they are stopped: some are kept warm."""
        due = set[str]()
        while self._drains.next <= self._now:
            due.update(self._drains.take())
        members = filter(None, map(self._machine.fleet.get, due))
        for member in sorted(members, key=attrgetter("serial")):
            empty = self._now >= self._empty[member.name]
            if member.phase is Phase.DRAINING:
                for _ in range(self._machine.settings.timing.quiet_observations):
                    self._feed(on.InFlightSeen(self._now, member.name, _IDLE if empty else _BUSY))
            if member.phase is Phase.LEAVING or (empty and member.phase is Phase.DRAINING):
                self._drains.add(self._now, member.name)

    def _let_pass(self) -> None:
        """Decide at once what operators, hooks and guards decide, and note that it was waited for."""
        machine, step = self._machine, self._machine.step
        position = machine.tier.position
        number = position.step + 1 if isinstance(position, Stepping | Holding) else 1
        if machine.tier.awaiting is not None:
            self._wait_for(f"the hooks before step {number}", on.StepAllowed(self._now))
        elif machine.status is TierStatus.HOLDING:
            promote = on.ActionRequested(self._now, Action.PROMOTE)
            self._wait_for(f"an operator to promote step {number}", promote)
        elif step is not None and step.kind == "analyse":
            passed = on.GuardJudged(self._now, "passed", "taken to pass")
            self._wait_for(f"the guard at step {number}, at most {step.stay:g} s", passed)

    def _wait_for(self, what: str, answer: on.Event) -> None:
        if what not in self._waits_for:
            self._waits_for.append(what)
            self._plan("wait", what)
            self._later(answer)

    def _plan(self, what: What, text: str, name: str = "") -> None:
        self._planned.append(Planned(self._now - self._began, what, text, name))

    def _later(self, event: on.Event) -> None:
        self._coming.add(event.at, event)
