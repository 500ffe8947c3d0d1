"""What a tier could really be like: processes, their requests, a router, and a controller that looks and acts.

It stands in for everything outside of `rollout/`, knows what is true (not only what was told), and checks against that.
Nothing happens by itself: time passes, commands are performed and looks are taken when a test says so. A look reports
what `engine.observe` would; what is said of an instance confirms nothing while a command for it is under way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from changeover.model.instance import InFlight
from changeover.rollout import commands as do
from changeover.rollout import events as on
from changeover.rollout.invariants import Violation, Watch
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.actions import Action, TierStatus
from changeover.rollout.tier.machine import Machine
from changeover.rollout.tier.settings import RolloutSettings
from changeover.rollout.tier.state import Resting, TierState, Undoing

START_TIME = 1.0
"""Seconds a process needs to start."""
ROUND = 0.5
"""Seconds between two looks."""
LATE = 2
"""Looks after a removal for which one last connection may still come: a router's threads do not learn of it at once."""

Health = Literal["sound", "refused", "crashes", "hangs"]


@dataclass
class Box:
    """One process."""

    name: str
    template: str
    born: float
    alive: bool = True
    up: bool = False
    hung: bool = False  # never comes up (again)
    sick: bool = False  # answers `not ready` just now
    duck: bool = False
    stubborn: bool = False  # does not end on its stop signal
    told_to_stop: bool = False
    listed: bool = False  # in its router's list
    late: int = 0
    removed_at: float = 0.0
    weight: int = 0
    requests: int = 0

    @property
    def ready(self) -> bool:
        return self.alive and self.up and not (self.sick or self.hung or self.duck)

    @property
    def reachable(self) -> bool:
        """Whether a request may get to it."""
        return self.alive and self.up and not self.told_to_stop and (self.listed or self.late > 0)


@dataclass
class Chapter:
    """What one controller was told, from what it found in its journal."""

    tier: TierState
    members: list[Member]
    events: list[on.Event] = field(default_factory=list)
    answers: list[tuple[do.Command, ...]] = field(default_factory=list)


class World:
    """One tier and everything around it."""

    def __init__(
        self, rules: RolloutSettings, make: Callable[[RolloutSettings, TierState, Fleet], Machine] = Machine
    ) -> None:
        self.rules = rules
        self.now = 0.0
        self.boxes: dict[str, Box] = {}
        self.health: dict[str, Health] = {}
        self.router_silent = False
        self.hop_silent = False
        self.finished: list[do.Finish] = []
        self._make = make
        self._watch = Watch(rules)
        self._queue: list[do.Command] = []
        self._journal: dict[str, Member] = {}
        self._tier = TierState("v1")
        self._templates: dict[str, str] = {}
        self._admitted: set[str] = set()
        self._coming_back: set[str] = set()
        self._unseen: set[str] = set()
        self._begin_chapter()

    # -- the controller ------------------------------------------------------------------------------------------

    def tell(self, event: on.Event) -> None:
        """One step of the controller: decide, be watched, write down, begin to perform."""
        decision = self.machine.handle(event)
        commands = decision.commands
        self.chapter.events.append(event)
        self.chapter.answers.append(commands)
        self._watch.step(event, commands)
        self._check_who_leaves_first(event, commands)
        self._tier = decision.state
        for member in [*(move.member for move in decision.moved), *decision.touched]:
            self._journal[member.name] = _copy(member)
        self.finished += [command for command in commands if isinstance(command, do.Finish)]
        self._queue += [command for command in commands if isinstance(command, _PERFORMED)]

    def perform(self) -> None:
        """Everything that was given is done."""
        while self._queue:
            self._do(self._queue.pop(0))

    def perform_one(self, which: int, *, lost: bool = False) -> None:
        """The next thing of one instance is done, or (`lost`) meets somebody who does not answer.

        Those of one instance are done in their order, those of different ones in any.
        """
        if self._queue:
            command = self._queue[which % len(self._queue)]
            command = next(c for c in self._queue if _name(c) == _name(command))
            self._queue.remove(command)
            if not lost or isinstance(command, do.CreateInstance | do.Stop):  # these are local
                self._do(command)

    def look(self) -> None:
        """What there is to see is seen, then told."""
        for event in [event for member in self.machine.fleet for event in self._seen(member)]:
            self.tell(event)
        for name in [name for name in self.boxes if name not in self.machine.fleet.members]:
            del self.boxes[name]  # killed and forgotten
            self._unseen.discard(name)

    def wait(self, seconds: float) -> None:
        """Time passes; processes start and end."""
        self.now += seconds
        for box in self.boxes.values():
            if not box.up and self.now - box.born >= START_TIME and not box.hung:
                health = self.health.get(box.template, "sound")
                box.up = health == "sound"
                if health == "crashes":
                    self.die(box)
            if box.told_to_stop and not box.requests and not box.stubborn:
                box.alive = False
        self.tell(on.Tick(self.now))

    def go_on(self, rounds: int = 1) -> None:
        """A controller at work."""
        for _ in range(rounds):
            self.perform()
            self.wait(ROUND)
            self.look()

    def kill_controller(self, seconds: float) -> None:
        """What it had written down is all that the next one knows, and nothing that was under way is done."""
        self.check_replay()
        self._queue = []
        self.now += seconds
        self._begin_chapter()
        for member in list(self.machine.fleet):
            if member.name in self.boxes:
                continue
            if member.phase is Phase.CREATING:
                self._queue.append(do.CreateInstance(member.name, member.template))
            else:
                self.tell(on.InstanceGone(self.now, member.name, "there is no record of it"))
                self.tell(on.RouterConfirmed(self.now, member.name, admitted=False))

    def _begin_chapter(self) -> None:
        members = [member for member in self._journal.values() if member.phase is not Phase.GONE]
        for member in members:
            member.patience_from = max(member.patience_from, self.now)  # nobody looked while there was no controller
        self.chapter = Chapter(self._tier, [_copy(member) for member in members])
        self.machine = self._make(self.rules, self._tier, Fleet(map(_copy, members)))

    # -- the processes -------------------------------------------------------------------------------------------

    def die(self, box: Box) -> None:
        """It ends, and whatever it had in flight with it."""
        if box.alive:
            box.alive, box.requests = False, 0
            self._unseen.add(box.name)

    def _do(self, command: do.Command) -> None:
        match command:
            case do.CreateInstance() if self.health.get(command.template) == "refused":
                self.tell(on.InstanceGone(self.now, command.name, "refused"))
                self.tell(on.RouterConfirmed(self.now, command.name, admitted=False))
            case do.CreateInstance() if command.name not in self.boxes:
                hung = self.health.get(command.template) == "hangs"
                self.boxes[command.name] = Box(command.name, command.template, self.now, hung=hung)
                there = sum(box.alive for box in self.boxes.values())
                above = self.rules.size if self.rules.strategy == "blue-green" else 0
                if there > self.rules.size + max(self.rules.surge, above):
                    raise Violation(f"2: {there} processes are there")
            case do.Admit(name, weight) if box := self.boxes.get(name):
                box.listed, box.weight = True, weight
            case do.SetWeight(name, weight) if box := self.boxes.get(name):
                box.weight = weight
            case do.Remove(name) if (box := self.boxes.get(name)) and box.listed:
                self._check_floor(box)
                box.listed, box.late, box.removed_at = False, LATE, self.now
            case do.LameDuck(name, on=duck) if box := self.boxes.get(name):
                box.duck = duck
            case do.Stop(name) if box := self.boxes.get(name):
                self._check_nothing_is_cut(box)
                box.told_to_stop = True
                if command.kill:
                    box.alive, box.requests = False, 0
                self.tell(on.StopSent(self.now, name))

    def _seen(self, member: Member) -> Iterator[on.Event]:
        now, box = self.now, self.boxes.get(member.name)
        if box is None:
            return
        if not box.alive and member.phase is not Phase.FAILED:
            self._unseen.discard(member.name)
            yield on.InstanceGone(now, member.name, "exit 1")
        elif member.phase in (Phase.CREATING, Phase.WARMING, Phase.READY):
            yield on.InstanceReady(now, member.name) if box.ready else on.InstanceUnready(now, member.name)
        elif member.phase is Phase.ADMITTED and not box.ready:
            yield on.InstanceUnready(now, member.name)
        under_way = any(_name(command) == member.name for command in self._queue)
        yield from self._counted(member, box, under_way)
        yield from self._routed(member, box, under_way)

    def _counted(self, member: Member, box: Box, under_way: bool) -> Iterator[on.Event]:
        if not box.alive or member.phase not in (Phase.LEAVING, Phase.DRAINING):
            return
        if self.hop_silent or self.router_silent:
            yield on.Unconfirmed(self.now, member.name, "somebody", silent=True)
        elif not under_way:
            yield on.InFlightSeen(self.now, member.name, InFlight(box.requests, box.requests))
            box.late = max(0, box.late - 1) if member.phase is Phase.DRAINING else box.late

    def _routed(self, member: Member, box: Box, under_way: bool) -> Iterator[on.Event]:
        if member.phase not in (Phase.READY, Phase.ADMITTED, Phase.LEAVING, Phase.FAILED):
            return
        if self.router_silent:
            if member.phase is not Phase.ADMITTED:
                yield on.Unconfirmed(self.now, member.name, "its router", silent=True)
        elif under_way:
            return
        elif member.phase is Phase.ADMITTED:
            if box.listed and box.ready:
                yield on.WeightSeen(self.now, member.name, box.weight)
        elif box.listed and box.ready if member.phase is Phase.READY else not box.listed:
            yield on.RouterConfirmed(self.now, member.name, admitted=member.phase is Phase.READY)
        else:
            yield on.Unconfirmed(self.now, member.name, "its router", silent=False)

    # -- what is checked without asking the machine --------------------------------------------------------------

    def _check_floor(self, leaving: Box) -> None:
        """1, as it is and not as it was told; while something broke that was not seen yet, nobody could know."""
        if not leaving.ready or leaving.name not in self.machine.fleet.members:
            return
        sick = any(box.sick or box.hung for box in self.boxes.values() if box.listed)
        serving = sum(box.listed and box.ready for box in self.boxes.values()) - 1
        floor = min(len(self._admitted), self.rules.size - self.rules.unavailable)
        if not sick and not self._unseen and serving < floor:
            raise Violation(f"1: only {serving} serve without {leaving.name}")

    def _check_nothing_is_cut(self, box: Box) -> None:
        """3, as it is and not as it was told."""
        in_time = self.now < box.removed_at + self.rules.drain_deadline
        if box.alive and box.requests and (in_time or not self.rules.cut_at_deadline):
            raise Violation(f"3: {box.name} is stopped with {box.requests} requests in flight")
        if box.alive and box.listed:
            raise Violation(f"3: {box.name} is stopped while its router lists it")

    def _check_who_leaves_first(self, event: on.Event, commands: Sequence[do.Command]) -> None:
        """6: the old instances are re-admitted before new ones are drained."""
        match event:
            case on.RouterConfirmed(admitted=True):
                self._admitted.add(event.name)
                self._coming_back.discard(event.name)
            case on.InstanceUnready():
                self._admitted.discard(event.name)
            case on.InstanceGone():
                self._admitted.discard(event.name)
                self._coming_back.discard(event.name)
        if not isinstance(self.machine.tier.state, Undoing):
            self._coming_back.clear()
        for command in commands:
            match command:
                case do.CreateInstance(name, template):
                    self._templates[name] = template
                case do.LameDuck(name, on=False) if isinstance(self.machine.tier.state, Undoing):
                    self._coming_back.add(name)
                case do.Remove(name):
                    self._coming_back.discard(name)
                    new = self._templates[name] != self.machine.tier.goal
                    if name in self._admitted and new and self._coming_back:
                        raise Violation(f"6: {name} is drained before {', '.join(self._coming_back)} came back")
                    self._admitted.discard(name)

    def check_replay(self) -> None:
        """7: the same journal gives the same commands."""
        chapter = self.chapter
        again = self._make(self.rules, chapter.tier, Fleet(map(_copy, chapter.members)))
        for event, answer in zip(chapter.events, chapter.answers, strict=True):
            if again.handle(event).commands != answer:
                raise Violation(f"7: the same journal gives the same commands, but not at {event}")

    def settle(self) -> None:
        """All that was broken is mended: from wherever things stand, the tier comes to rest, whole."""
        self.health.clear()
        self.router_silent = self.hop_silent = False
        # An instance that ignores its stop signal is killed after its grace, by default the drain deadline.
        patience = 500.0 + 2 * self.rules.size * self.rules.drain_deadline
        for _ in range(int(patience / ROUND)):
            for box in self.boxes.values():
                box.sick, box.requests = False, 0
            self.go_on()
            if self.at_rest:
                return
            self._help_on()
        phases = {member.name: str(member.phase) for member in self.machine.fleet}
        raise Violation(f"6: a safe state is reached, but not from {self.machine.tier} with {phases}")

    def _help_on(self) -> None:
        """A person who wants it done, and a guard that is content."""
        match self.machine.status:
            case TierStatus.FAILED:
                self.tell(on.ActionRequested(self.now, Action.RETRY))
            case TierStatus.PAUSED:
                self.tell(on.ActionRequested(self.now, Action.RESUME))
            case TierStatus.HOLDING:
                self.tell(on.ActionRequested(self.now, Action.PROMOTE))
            case TierStatus.ROLLING if self.machine.step is not None and self.machine.step.kind == "analyse":
                self.tell(on.GuardJudged(self.now, "passed", "all is well"))

    @property
    def at_rest(self) -> bool:
        tier = self.machine.tier
        whole = [box for box in self.boxes.values() if box.template == tier.goal and box.listed and box.ready]
        return isinstance(tier.state, Resting) and len(whole) == len(self.boxes) == self.rules.size and not self._queue


_PERFORMED = do.CreateInstance | do.Admit | do.SetWeight | do.LameDuck | do.Remove | do.Stop


def _name(command: do.Command) -> str:
    return str(getattr(command, "name", ""))


def _copy(member: Member) -> Member:
    """As it is written down."""
    return replace(member, times=dict(member.times), in_flight=None, quiet=0)
