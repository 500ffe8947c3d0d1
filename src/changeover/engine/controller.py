"""The controller: one machine for every tier, fed with what is seen, its commands performed.

Every step goes observe -> decide -> write down -> perform. The machines decide; this file never does. Commands of one
instance are performed one after the other, those of different instances side by side. What fails is not retried here:
the machine asks again for what it does not see.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from signal import SIGKILL

from changeover.engine.guardian import guard
from changeover.engine.journal.journal import Journal
from changeover.engine.journal.records import LogLine, RolloutRow
from changeover.engine.observe import Observer
from changeover.engine.preview import show, until_shown
from changeover.engine.runtime import ChainRuntime, Progress, ProgressListener, rollout_settings
from changeover.kit.clock import Clock
from changeover.model.chain import Strategy, Tier
from changeover.model.errors import ChangeoverError, fail
from changeover.model.hooks import Point
from changeover.ports import CannotStart, CanWeigh, Unknown
from changeover.rollout import commands as do
from changeover.rollout import events as on
from changeover.rollout.members.fleet import Fleet, Moved
from changeover.rollout.members.phases import UNSETTLED, Phase
from changeover.rollout.tier.actions import ANSWERS, Action
from changeover.rollout.tier.machine import Machine
from changeover.rollout.tier.state import Course, Status

BUSY_LOOK = 0.03
"""Seconds between two looks at a tier in which something is to happen: what bounds the time from an instance's last
request to its stop."""
DROP_TRIES = 20
"""Looks, at the end, until a router that still holds sessions of a gone instance is left to its list."""
HEAR = 0.1
"""Seconds between two looks for what other commands ask."""
LAST_LOOK = 0.01
"""Seconds between the first look that finds a draining instance empty and the next one, which must confirm it."""
QUIET_LOOK = 0.5
"""Seconds between two looks at a tier at rest."""


class Controller:
    """Tends all tiers of a chain for as long as `tending` is open. The journal's lease must be held."""

    def __init__(self, world: ChainRuntime, journal: Journal, tell: ProgressListener) -> None:
        self._world = world
        self._journal = journal
        self._tell = tell
        self._clock = Clock(not_before=journal.latest())
        self.machines = {tier.name: self._load(tier) for tier in world.chain.tiers}
        self._observers = {
            tier.name: Observer(
                world.hops[tier.name],
                world.routers[tier.name],
                world.platform,
                world.instances,
                self._clock.now,
                fall=tier.health.fall,
                by_load=tier.update.order == "in-flight",
            )
            for tier in world.chain.tiers
        }
        self._finished: dict[str, asyncio.Future[do.Finish]] = {}
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._pending: dict[str, list[do.Command]] = defaultdict(list)
        self._forget: dict[str, str] = {}
        self.before_step: Callable[[str, do.StepReached], Awaitable[str]] | None = None
        """Asked before a step of that tier is taken; answers why it must not be, or nothing."""
        self._tasks = asyncio.TaskGroup()
        self._tenders: list[asyncio.Task[None]] = []

    def _load(self, tier: Tier) -> Machine:
        rules = rollout_settings(
            tier,
            weighed=isinstance(self._world.routers[tier.name], CanWeigh),
            ask_first=any(hook.point is Point.BEFORE_STEP for hook in self._world.chain.hooks),
        )
        machine = Machine(rules, self._journal.course(tier.name) or Course(tier.first), self._journal.fleet(tier.name))
        for member in machine.fleet:
            member.patience_from = max(member.patience_from, self.now)  # nobody looked while there was no controller
            if (instance := self._world.platform.recorded(member.name)) is not None:
                self._world.instances[member.name] = instance
        self._note_carrying(tier.name, machine.fleet)
        return machine

    @property
    def now(self) -> float:
        return self._clock.now()

    # -- what callers ask ----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def tending(self) -> AsyncIterator[Controller]:
        """Keep watching and acting while the block runs. An error in it stops everything and is raised from here."""
        try:
            async with self._tasks:
                self._take_up()
                for tier in filter(self._started, self.machines):
                    self._begin_tending(tier)
                for minding in (self._hear(), self._mind_platform()):
                    self._tenders.append(self._tasks.create_task(minding))
                try:
                    yield self
                    await self._drop_last()
                finally:
                    for task in self._tenders:
                        task.cancel()
        except BaseExceptionGroup as group:
            raise _first(group) from group

    async def move(self, tier: str, goal: str, strategy: Strategy | None = None) -> do.Finish:
        """Take one tier to a template and wait until it is at rest there, or back. Its rollout must be open."""
        fresh = not self._started(tier)
        self._finished[tier] = asyncio.get_running_loop().create_future()
        self._feed(tier, on.Started(self.now, goal, strategy))
        if fresh:
            self._begin_tending(tier)
        finish = await self._finished[tier]
        del self._finished[tier]
        return finish

    async def carry(self, row: RolloutRow, action: Action | None = None, who: str = "") -> do.Finish:
        """Carry a rollout that has begun to its end, after asking something of it first. Raises ChangeoverError."""
        self._finished[row.tier] = asyncio.get_running_loop().create_future()
        machine = self.machines[row.tier]
        if machine.asking is not None:  # whoever was asked may not have heard it, or not been heard
            self._tasks.create_task(self._ask_leave(row.tier, machine.asking))
            action = None if action is Action.RESUME else action
        if action is not None and (answer := self.ask(row.tier, action, who)).startswith("no: "):
            raise fail(f"{action} {row.tier}: {answer.removeprefix('no: ')}")
        finish = await self._finished[row.tier]
        del self._finished[row.tier]
        return finish

    def is_moving(self, tier: str) -> bool:
        """Whether its rollout has begun; one that is open may still wait for the hooks before it."""
        return self.machines[tier].course.status in (Status.ROLLING, Status.UNDOING)

    async def settle(self) -> None:
        """Wait until every tier is at rest with all its instances serving, behind load balancers that know them."""
        while not (self._world.platform.is_open() and all(map(self._at_rest, self.machines.values()))):
            await asyncio.sleep(BUSY_LOOK)

    def _at_rest(self, machine: Machine) -> bool:
        return machine.fleet.serving == machine.rules.size == len(machine.fleet.members)

    # -- one tier ------------------------------------------------------------------------------------------------

    def _started(self, tier: str) -> bool:
        return bool(self.machines[tier].fleet.members) or self._journal.course(tier) is not None

    def _take_up(self) -> None:
        """What an earlier controller had decided but may not have done: launches without a record."""
        for tier, machine in self.machines.items():
            for member in list(machine.fleet):
                if member.name in self._world.instances:
                    continue
                if member.phase is Phase.CREATING:
                    self._start(tier, [do.CreateInstance(member.name, member.template)])
                else:
                    self._feed(tier, on.InstanceGone(self.now, member.name, "there is no record of it"))
                    self._feed(tier, on.RouterConfirmed(self.now, member.name, admitted=False))

    async def _hear(self) -> None:
        """Answer what other commands ask of this controller through the journal."""
        while True:
            for request in self._journal.action_requests():
                self._journal.answer(request.id, self.ask(request.tier, request.action, request.requested_by))
            await asyncio.sleep(HEAR)

    async def _mind_platform(self) -> None:
        """A load balancer that died is started again, with the members it had."""
        platform = self._world.platform
        while True:
            if not platform.is_open():
                self._tell(
                    Progress(self.now, self._world.chain.name, "load balancer gone; started again", level="warning")
                )
                try:
                    await platform.open(fresh=False)
                    await self._readmit_all()
                    platform.mark_whole()
                except (ChangeoverError, CannotStart, Unknown) as error:
                    self._tell(Progress(self.now, self._world.chain.name, str(error), level="warning"))
            await asyncio.sleep(QUIET_LOOK)

    async def _readmit_all(self) -> None:
        for tier, machine in self.machines.items():
            for member in machine.fleet.where(Phase.READY, Phase.ADMITTED):
                if (instance := self._world.instances.get(member.name)) is not None:
                    await self._world.routers[tier].admit(instance, member.weight)

    def ask(self, tier: str, action: Action, who: str) -> str:
        """Ask something of a tier; what comes of it, in words. `no: …` when it is not done."""
        machine = self.machines.get(tier)
        if machine is None:
            return f"no: there is no tier {tier}"
        answer = ANSWERS[machine.state, action]
        refused = [c.reason for c in self._feed(tier, on.Asked(self.now, action, who)) if isinstance(c, do.Refuse)]
        return f"no: {refused[0]}" if refused else answer.says

    def _begin_tending(self, tier: str) -> None:
        self._tenders.append(self._tasks.create_task(self._tend(tier)))
        if (by := self._world.guarding.get(tier)) is not None:
            guarding = guard(self.machines[tier], by, partial(self._feed, tier), lambda: self.now)
            self._tenders.append(self._tasks.create_task(guarding))
        if (preview := self._world.previews.get(tier)) is not None:
            showing = show(self.machines[tier], preview, self._world.instances)
            self._tenders.append(self._tasks.create_task(showing))

    async def _tend(self, tier: str) -> None:
        machine = self.machines[tier]
        while True:
            for event in await self._look(tier, machine):
                self._feed(tier, event)
            self._feed(tier, on.Tick(self.now))
            await self._drop_forgotten(tier)
            await asyncio.sleep(_pause(machine))

    async def _look(self, tier: str, machine: Machine) -> list[on.Event]:
        """What is seen of the tier, less what is no longer so.

        An answer of a router or a count is worth nothing when, between question and answer, the instance moved or a
        command was on its way to it: an admission that is still under way would undo the removal that was just seen.
        """
        before = {member.name: member.phase for member in machine.fleet.where(*UNSETTLED)}
        busy = set(self._pending)
        events = await self._observers[tier].look(machine.fleet)

        def holds(event: on.Event) -> bool:
            if not isinstance(event, on.RouterConfirmed | on.InFlightSeen | on.WeightSeen):
                return True
            member = machine.fleet.get(event.name)
            stayed = member is not None and before.get(event.name, Phase.ADMITTED) is member.phase
            return stayed and event.name not in busy and event.name not in self._pending

        return [event for event in events if holds(event)]

    def _feed(self, tier: str, event: on.Event) -> list[do.Command]:
        machine = self.machines[tier]
        before = machine.course
        commands = machine.handle(event)
        moved, machine.fleet.moved = machine.fleet.moved, []
        touched, machine.fleet.touched = machine.fleet.touched, {}
        if not commands and not moved and not touched and machine.course == before:
            return commands
        created = [machine.fleet.members[c.name] for c in commands if isinstance(c, do.CreateInstance)]
        created += touched.values()
        performed = [c for c in commands if not isinstance(c, do.WakeAt)]
        finish = next((c for c in commands if isinstance(c, do.Finish)), None)
        ended = None if finish is None else (finish.outcome, finish.reason)
        lines = _lines(event, moved, performed)
        self._journal.write_step(event.at, tier, machine.course, moved, created, lines, ended)
        self._note_carrying(tier, machine.fleet)
        for move in moved:
            self._tell(Progress(event.at, tier, f"{move.before} -> {move.after}", move.member.name, moved=move))
        self._start(tier, performed)
        for move in moved:
            if move.after is Phase.GONE:
                self._forget[move.member.name] = tier
        return commands

    def _note_carrying(self, tier: str, fleet: Fleet) -> None:
        self._world.carrying[tier] = frozenset(m.name for m in fleet if m.phase in _CARRYING)

    # -- performing ----------------------------------------------------------------------------------------------

    def _start(self, tier: str, commands: Iterable[do.Command]) -> None:
        by_instance: dict[str, list[do.Command]] = defaultdict(list)
        for command in commands:
            match command:
                case do.Note():
                    self._tell(Progress(self.now, tier, command.text, command.name, command.level))
                case do.Finish():
                    future = self._finished.get(tier)
                    if future is not None and not future.done():
                        future.set_result(command)
                case do.StepReached():
                    self._tasks.create_task(self._ask_leave(tier, command))
                case do.Refuse():
                    self._tell(Progress(self.now, tier, command.reason, level="warning"))
                case _:
                    by_instance[getattr(command, "name", "")].append(command)
        for name, batch in by_instance.items():
            new = [command for command in batch if command not in self._pending.get(name, ())]
            if new:
                self._pending[name] += new
                self._tasks.create_task(self._perform(tier, name, new))

    async def _ask_leave(self, tier: str, reached: do.StepReached) -> None:
        """Have the step allowed or refused by whoever is to be asked first."""
        if self.before_step is None:
            return
        if (preview := self._world.previews.get(tier)) is not None:
            await until_shown(self.machines[tier], preview, self._world.instances)
        against = await self.before_step(tier, reached)
        self._feed(tier, on.Allowed(self.now, against))

    async def _perform(self, tier: str, name: str, commands: Iterable[do.Command]) -> None:
        async with self._locks[name]:
            for command in commands:
                try:
                    with contextlib.suppress(Unknown):  # not seen to have worked, so the machine will ask again
                        await self._do(tier, command)
                finally:
                    self._pending[name].remove(command)
                    if not self._pending[name]:
                        del self._pending[name]

    async def _do(self, tier: str, command: do.Command) -> None:
        world = self._world
        if isinstance(command, do.CreateInstance):
            await self._create(tier, command)
            return
        instance = world.instances.get(getattr(command, "name", ""))
        if instance is None:
            return
        match command:
            case do.Admit():
                await world.routers[tier].admit(instance, command.weight)
            case do.SetWeight():
                router = world.routers[tier]
                if isinstance(router, CanWeigh):
                    await router.weigh(instance, command.weight)
            case do.Remove():
                await world.routers[tier].remove(instance)
            case do.LameDuck():
                await world.platform.lame_duck(instance, command.on)
                await world.hops[tier].lame_duck(instance, command.on)
            case do.Stop():
                await world.platform.stop(instance, SIGKILL if command.kill else world.hops[tier].traits.stop_signal)
                self._feed(tier, on.StopSent(self.now, command.name))

    async def _create(self, tier: str, command: do.CreateInstance) -> None:
        world = self._world
        owner = world.chain.tier(tier)
        assert owner is not None
        try:
            if command.template not in owner.templates:
                raise CannotStart(f"template {command.template} is not in the chain file any more")
            world.instances[command.name] = await world.platform.create(command.name, owner, command.template)
        except (CannotStart, ChangeoverError, OSError) as error:
            self._feed(tier, on.InstanceGone(self.now, command.name, str(error)))
            self._feed(tier, on.RouterConfirmed(self.now, command.name, admitted=False))

    async def _drop_last(self) -> None:
        """What went at the very end is dropped before the controller leaves, unless a router holds on to it."""
        for _ in range(DROP_TRIES):
            for tier in self.machines:
                await self._drop_forgotten(tier)
            if not self._forget:
                return
            await asyncio.sleep(BUSY_LOOK)

    async def _drop_forgotten(self, tier: str) -> None:
        """Gone instances leave the routers' lists and take with them what they may have left running."""
        for name in [name for name, owner in self._forget.items() if owner == tier]:
            try:
                if (instance := self._world.instances.get(name)) is not None:
                    await self._world.platform.kill(instance)
                await self._world.routers[tier].forget(name)
            except Unknown:
                continue
            self._forget.pop(name, None)
            self._world.instances.pop(name, None)
            self._locks.pop(name, None)


def _pause(machine: Machine) -> float:
    """Seconds until the next look; shorter the nearer something is to happen."""
    if any(member.quiet for member in machine.fleet.where(Phase.DRAINING)):
        return LAST_LOOK
    moving = machine.course.status in (Status.ROLLING, Status.UNDOING)
    return BUSY_LOOK if moving or machine.fleet.count(UNSETTLED) else QUIET_LOOK


_CARRYING = frozenset({Phase.WARMING, Phase.READY, Phase.ADMITTED, Phase.LEAVING, Phase.DRAINING})
"""Phases in which an instance may pass requests on, and so must have learnt of every change behind it."""


def _lines(event: on.Event, moved: Iterable[Moved], commands: Iterable[do.Command]) -> list[LogLine]:
    lines = []
    if not isinstance(event, on.Tick):
        lines.append(LogLine("event", repr(event), getattr(event, "name", "")))
    lines += [LogLine("phase", f"{m.before} -> {m.after}: {m.cause}", m.member.name) for m in moved]
    for command in commands:
        kind = "note" if isinstance(command, do.Note) else "command"
        lines.append(
            LogLine(
                kind,
                command.text if isinstance(command, do.Note) else repr(command),
                getattr(command, "name", ""),
            )
        )
    return lines


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended a task group; what it took down with it is only cancelled."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
