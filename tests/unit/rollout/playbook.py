"""A story of one tier that a reader can check by eye: events in, commands out.

    with script(size=2) as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"))
        s.event(InstanceReady(2, C))                               # nothing follows
        s.event(Tick(3)).expect(Admit(C))

Every command has to be expected where it is given; WakeAt alone may go unmentioned. `invariants.Watch` looks on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import zip_longest
from math import inf
from types import MappingProxyType
from typing import Literal

from changeover.model.instance import InFlight, Upload
from changeover.model.update import Strategy
from changeover.rollout import commands as do
from changeover.rollout import events as on
from changeover.rollout.invariants import Watch
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.tier.machine import Machine
from changeover.rollout.tier.settings import CanaryStep, RolloutSettings
from changeover.rollout.tier.state import TierState

A, B = "web-v1-1", "web-v1-2"
"""The instances that serve when a story begins."""
C, D, E, F = "web-v2-3", "web-v2-4", "web-v2-5", "web-v2-6"
"""Those that a roll to v2 adds, in order."""

BUSY = InFlight(requests=1, connections=1)
IDLE = InFlight(requests=0, connections=0)


@dataclass(frozen=True)
class Said:
    """Expects a Note in which these words occur."""

    words: str
    name: str = ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, do.Note) and self.words in other.text and self.name == other.name


Expected = do.Command | Said


class Script:
    """One machine, what was told to it, and what it answered."""

    def __init__(self, machine: Machine, watch: Watch) -> None:
        self.machine = machine
        self._watch = watch
        self._story: list[str] = []
        self._given: Sequence[do.Command] = ()

    def event(self, event: on.Event) -> Script:
        """Tell the machine. What it gives must be taken up by `expect` before the next event."""
        self.finish()
        self._given = self.machine.handle(event).commands
        self._story.append(repr(event))
        self._watch.step(event, self._given)
        return self

    def expect(self, *expected: Expected) -> Script:
        """Exactly these commands, in this order, followed from the last event."""
        asked_to_wake = any(isinstance(one, do.WakeAt) for one in expected)
        given = [one for one in self._given if asked_to_wake or not isinstance(one, do.WakeAt)]
        self._given = ()
        if list(expected) != given:
            raise AssertionError(self._difference(expected, given))
        return self

    def finish(self) -> None:
        """Nothing was given that nobody expected."""
        self.expect()

    def change_rules(self, size: int) -> None:
        """The chain file was changed and read anew."""
        rules = replace(self.machine.settings, size=size)
        self._watch.rules = rules
        self.machine = Machine(rules, self.machine.tier, self.machine.fleet)

    def restart(self) -> None:
        """Another controller takes over, from what was written down."""
        self.finish()
        members = [replace(m, times=dict(m.times), in_flight=None, quiet=0) for m in self.machine.fleet]
        self.machine = Machine(self.machine.settings, self.machine.tier, Fleet(members))

    # -- longer steps --------------------------------------------------------------------------------------------

    def serve(self, name: str, at: float) -> Script:
        """It gets ready, stays so, and is admitted one second later; what follows is to be expected."""
        self.event(on.InstanceReady(at, name))
        self.event(on.Tick(at + 1)).expect(do.Admit(name))
        return self.event(on.RouterConfirmed(at + 1, name, admitted=True))

    def leave(self, name: str, at: float) -> Script:
        """It is out of its routers, empty, stopped and gone; what follows is to be expected."""
        self.event(on.RouterConfirmed(at, name, admitted=False))
        self.event(on.InFlightSeen(at, name, IDLE))
        self.event(on.InFlightSeen(at, name, IDLE)).expect(do.Stop(name))
        self.event(on.StopSent(at, name))
        return self.event(on.InstanceGone(at, name))

    def drop(self, name: str, at: float) -> Script:
        """The same for one that no router was ever told of: nothing can be in flight on it."""
        self.event(on.RouterConfirmed(at, name, admitted=False)).expect(do.Stop(name))
        self.event(on.StopSent(at, name))
        return self.event(on.InstanceGone(at, name))

    @property
    def status(self) -> str:
        return self.machine.status.value

    def phases(self) -> dict[str, str]:
        """Where every instance stands."""
        return {member.name: member.phase.value for member in self.machine.fleet}

    def _difference(self, expected: Sequence[Expected], given: Sequence[do.Command]) -> str:
        rows = [("  ", "expected", "given")]
        for wanted, got in zip_longest(expected, given):
            rows.append(("  " if wanted == got else "! ", _text(wanted), _text(got)))
        width = max(len(wanted) for _, wanted, _ in rows)
        told = "\n".join(f"  {line}" for line in self._story[-8:])
        return f"the last events were\n{told}\n" + "\n".join(f"{m}{w:<{width}}  {g}" for m, w, g in rows)


def _text(command: Expected | None) -> str:
    return "-" if command is None else repr(command)


def leaving(name: str) -> tuple[do.Command, do.Command]:
    """What an instance is told that is to leave."""
    return do.LameDuck(name, on=True), do.Remove(name)


UPLOAD = InFlight(requests=1, connections=1, uploads=(Upload(12_700_000, 25_000_000, 60.0),))


def draining(s: Script) -> None:
    """A is out of every router, C serves in its place. It is 5 o'clock."""
    s.event(on.Started(0, "v2")).expect(do.CreateInstance(C, "v2"))
    s.serve(C, at=2).expect(*leaving(A))
    s.event(on.RouterConfirmed(5, A, admitted=False))


@contextmanager
def script(
    *,
    size: int = 2,
    surge: int = 1,
    unavailable: int = 0,
    min_ready: float = 1.0,
    deadline: float = 600.0,
    policy: Literal["wait", "cut"] = "wait",
    progress_deadline: float = 60.0,
    strategy: Strategy = "rolling",
    steps: tuple[CanaryStep, ...] = (),
    bake: float = 0.0,
    weighed: bool = False,
    hold: bool = False,
    ask_first: bool = False,
    needs_traffic: bool = False,
    fresh: bool = False,
    stop_grace: Mapping[str, float] = MappingProxyType({}),
    watch: float = 0.0,
    watch_limit: float = 0.0,
    long_lived_after: float = inf,
    long_lived_asked_after: float = 0.0,
    follows_health: bool = False,
    running: str | None = "v1",
) -> Iterator[Script]:
    """A tier `web` whose instances of `running` all serve, or (None) one that was never started. Time begins at 0."""
    rules = RolloutSettings("web", size, surge, unavailable, min_ready, progress_deadline, deadline, policy == "cut")
    rules = replace(rules, strategy=strategy, steps=steps, bake=bake, weighed=weighed, hold=hold, ask_first=ask_first)
    rules = replace(rules, needs_traffic=needs_traffic, follows_health=follows_health)
    rules = replace(rules, fresh_baseline=fresh, stop_grace=stop_grace, watch=watch, watch_limit=watch_limit)
    rules = replace(rules, long_lived_after=long_lived_after, long_lived_asked_after=long_lived_asked_after)
    s = Script(Machine(rules, TierState(running or "v1", not_before=-900), Fleet()), Watch(rules))
    if running is not None:
        names = [f"web-{running}-{n}" for n in range(1, size + 1)]
        s.event(on.Started(-900, running)).expect(*(do.CreateInstance(name, running) for name in names))
        for name in names:
            s.event(on.InstanceReady(-900, name))
        s.event(on.Tick(-900 + min_ready)).expect(*map(do.Admit, names))
        for name in names[:-1]:
            s.event(on.RouterConfirmed(-800, name, admitted=True))
        s.event(on.RouterConfirmed(-800, names[-1], admitted=True)).expect(do.Finish("completed"))
    yield s
    s.finish()
