"""The controller: one machine for every tier, fed with what is observed, its decisions written down and performed.

Every step goes observe -> decide -> write down -> perform. The machines decide; this file never does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Container
from contextlib import asynccontextmanager
from functools import partial

from changeover.engine.adoption import settled
from changeover.engine.figures import FiguresStore
from changeover.engine.guardian import guard
from changeover.engine.journal.journal import Journal
from changeover.engine.journal.records import DISAGREEMENT, ActionRequest, LogLine, RolloutRow
from changeover.engine.log_lines import log_lines
from changeover.engine.measured import Measured
from changeover.engine.observe import Observer
from changeover.engine.pace import pause, until_next_look
from changeover.engine.performer import Performer
from changeover.engine.preview import show, until_shown
from changeover.engine.reports import Reports
from changeover.engine.runtime import ChainRuntime, Progress, ProgressListener, rollout_settings
from changeover.engine.upkeep import renew_certificates, restore_members, silent_nodes
from changeover.kit.clock import Clock
from changeover.model.chain import Tier
from changeover.model.errors import ChangeoverError, fail
from changeover.model.hooks import Point
from changeover.model.revision import template_of
from changeover.model.update import Strategy
from changeover.ports import Adopts, CannotStart, CanWeigh, FollowsHealth, Launches, Unknown
from changeover.rollout import commands as do
from changeover.rollout import events as on
from changeover.rollout.members import drain_now
from changeover.rollout.members.phases import UNSETTLED, Phase
from changeover.rollout.tier.actions import ANSWERS, Action, Answer
from changeover.rollout.tier.decision import Decision
from changeover.rollout.tier.machine import Machine
from changeover.rollout.tier.state import TierState

_ATTEMPTS = 5
"""At the end of a rollout, to learn from the platform what ended, and to have its own view agree."""


class Controller:
    """Runs all tiers of a chain for as long as `tending` is open. The journal's lease must be held."""

    def __init__(self, runtime: ChainRuntime, journal: Journal, on_progress: ProgressListener) -> None:
        self._runtime = runtime
        self._timing = runtime.timing
        self._journal = journal
        self._clock = Clock(not_before=journal.latest())
        self.reports = Reports(journal, on_progress, runtime.chain.name, self._clock.now)
        self.machines = {tier.name: self._load(tier) for tier in runtime.chain.tiers}
        self._observers = {tier.name: self._observer(tier) for tier in runtime.chain.tiers}
        self._finished: dict[str, asyncio.Future[do.Finish]] = {}
        self.before_step: Callable[[str, do.StepReached], Awaitable[str]] | None = None
        """Called before a step of that tier begins; returns why it must not begin, or nothing."""
        self._tasks = asyncio.TaskGroup()
        self._loops: list[asyncio.Task[None]] = []
        self._performer = Performer(runtime, self._tasks, self._feed, self._clock.now)
        self._measured = Measured(FiguresStore(journal.folder), self.machines, self._clock.now, self.reports.warn)

    def _load(self, tier: Tier) -> Machine:
        runtime = self._runtime
        settings = rollout_settings(
            tier,
            weighed=isinstance(runtime.routers[tier.name], CanWeigh),
            guards=runtime.guards_of(tier.name),
            needs_traffic=bool(tier.update.guard),
            ask_first=any(hook.point is Point.BEFORE_STEP for hook in runtime.chain.hooks),
            follows_health=isinstance(runtime.routers[tier.name], FollowsHealth),
            stop_grace=runtime.stop_grace(tier.name),
        )
        state = self._journal.tier(tier.name) or TierState(tier.first)
        machine = Machine(settings, state, self._journal.fleet(tier.name))
        for member in machine.fleet:
            member.patience_from = max(member.patience_from, self.now)  # no controller observed it in the meantime
            if (instance := runtime.platform.recorded(member.name)) is not None:
                runtime.instances[member.name] = instance
        runtime.carry(tier.name, machine.fleet)
        return machine

    def _observer(self, tier: Tier) -> Observer:
        runtime, name = self._runtime, tier.name
        return Observer(
            runtime.hops[name],
            runtime.routers[name],
            runtime.platform,
            runtime.instances,
            self._clock.now,
            health=tier.health,
            by_load=tier.update.order == "in-flight",
            idle_after=tier.drain.idle_after,
            timing=runtime.timing,
        )

    @property
    def now(self) -> float:
        return self._clock.now()

    # -- what callers ask ----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def tending(self) -> AsyncIterator[Controller]:
        """Observe and act while the block runs. An error in it stops everything and is raised from here."""
        try:
            async with self._tasks:
                self._take_up()
                for tier in filter(self._started, self.machines):
                    self._begin_tending(tier)
                for loop in (self._answer_requests(), self._watch_platform(), self._keep_up(), self._measured.run()):
                    self._loops.append(self._tasks.create_task(loop))
                try:
                    yield self
                    await self._performer.drop_last()
                finally:
                    for task in self._loops:
                        task.cancel()
        except BaseExceptionGroup as group:
            raise _first(group) from group

    async def move(self, tier: str, goal: str, strategy: Strategy | None = None) -> do.Finish:
        """Take one tier to a template and wait until its rollout has ended. The rollout must be in the journal."""
        fresh = not self._started(tier)
        self._finished[tier] = asyncio.get_running_loop().create_future()
        self._feed(tier, on.Started(self.now, goal, strategy))
        if fresh:
            self._begin_tending(tier)
        return await self._end_of(tier)

    async def carry(self, row: RolloutRow, action: Action | None = None, requester: str = "") -> do.Finish:
        """Carry a rollout that has begun to its end, with a request first; raises ChangeoverError if it is refused."""
        self._finished[row.tier] = asyncio.get_running_loop().create_future()
        awaiting = self.machines[row.tier].tier.awaiting
        if awaiting is not None:  # the hooks may not have run, or their answer may have been lost
            self._tasks.create_task(self._ask_hooks(row.tier, do.StepReached(awaiting.step, awaiting.done)))
            action = None if action is Action.RESUME else action
        if action is not None and not (answer := self.request(row.tier, action, requester)).done:
            raise fail(f"{action} {row.tier}: {answer.text}")
        return await self._end_of(row.tier)

    async def _end_of(self, tier: str) -> do.Finish:
        finish = await self._finished[tier]
        del self._finished[tier]
        return finish

    def is_moving(self, tier: str) -> bool:
        """Whether its rollout has begun; one that is open may still wait for the hooks before it."""
        return self.machines[tier].tier.moving

    async def settle(self) -> None:
        """Wait until every tier rests with all its instances serving, behind load balancers that know them."""
        while not (self._runtime.platform.is_open() and all(map(_is_settled, self.machines.values()))):
            await asyncio.sleep(self._timing.busy_look)

    async def look_once_more(self) -> None:
        """Note what of all that serves ended since the last looks. The outcome that is written next must have it."""
        if not self._runtime.platform.is_open():
            self.reports.balancer_ended()
        for _ in range(_ATTEMPTS):
            await self._restore_members()
            if not silent_nodes(self._runtime):
                break
            await asyncio.sleep(self._timing.resting_look)
        for tier, node in silent_nodes(self._runtime):
            self.reports.interruption(f"Router of tier {tier}: whether {node} serves is unknown, it does not answer.")
        for tier in filter(self._started, self.machines):
            try:
                for event in await self._observers[tier].ends(self.machines[tier].fleet, _ATTEMPTS):
                    self._feed(tier, event)
            except Unknown as error:
                text = f"Whether an instance of tier {tier} ended in the last moments is unknown: {error}."
                self.reports.interruption(text)

    def request(self, tier: str, action: Action, requester: str) -> Answer:
        """Ask an action of a tier."""
        machine = self.machines.get(tier)
        if machine is None:
            return Answer(False, f"there is no tier {tier}")
        answer = ANSWERS[machine.status, action]
        decision = self._feed(tier, on.ActionRequested(self.now, action, requester))
        return decision.refusal or answer

    # -- the loops -----------------------------------------------------------------------------------------------

    def _started(self, tier: str) -> bool:
        return bool(self.machines[tier].fleet.members) or self._journal.tier(tier) is not None

    def _take_up(self) -> None:
        """Launch what an earlier controller decided to create but did not record."""
        for tier, machine in self.machines.items():
            for member in list(machine.fleet):
                if member.name in self._runtime.instances:
                    continue
                if member.phase is Phase.CREATING:
                    self._performer.start(tier, [do.CreateInstance(member.name, template_of(member.template))])
                else:
                    self._feed(tier, on.InstanceGone(self.now, member.name, "there is no record of it"))
                    self._feed(tier, on.RouterConfirmed(self.now, member.name, admitted=False))

    async def _answer_requests(self) -> None:
        """Answer the requests that other commands leave in the journal."""
        while True:
            for request in self._journal.action_requests():
                self._journal.answer(request.id, self._answer(request))
            await asyncio.sleep(self._timing.request_look)

    def _answer(self, request: ActionRequest) -> Answer:
        if request.instance:
            return self._end_drain(request.tier, request.instance, request.requested_by)
        if request.action is None:
            return Answer(False, "the controller does not know this request: it is of another version of the program")
        return self.request(request.tier, request.action, request.requested_by)

    def _end_drain(self, tier: str, name: str, requester: str) -> Answer:
        machine = self.machines.get(tier)
        if machine is None or machine.fleet.get(name) is None:
            return Answer(False, drain_now.REFUSED[Phase.GONE])
        decision = self._feed(tier, on.DrainEndRequested(self.now, name, requester))
        return decision.refusal or Answer(True, drain_now.DONE)

    async def _watch_platform(self) -> None:
        """Start a load balancer that died again, with the members it had."""
        platform = self._runtime.platform
        while isinstance(platform, Launches):
            if not self._runtime.platform.is_open():
                self.reports.warn("load balancer gone; started again")
                self.reports.balancer_ended()
                try:
                    await platform.open(fresh=False)
                    await self.readmit()
                    platform.mark_whole()
                except (ChangeoverError, CannotStart, Unknown) as error:
                    self.reports.warn(str(error))
            await asyncio.sleep(self._timing.resting_look)

    async def _keep_up(self) -> None:
        """Give routers that restarted their members back, and have instances serve renewed certificates."""
        runtime = self._runtime
        while True:
            await self._restore_members()
            await renew_certificates(runtime, list(runtime.instances.values()), self.reports.listener)
            await asyncio.sleep(self._timing.resting_look)

    async def _restore_members(self) -> None:
        await restore_members(self._runtime, self._runtime.routers, self._journal, self.reports.listener)

    async def readmit(self, names: Container[str] | None = None) -> None:
        """Have the routers list these members, or all, that are to serve. Raises Unknown."""
        for tier, machine in self.machines.items():
            for member in list(machine.fleet.where(Phase.READY, Phase.ADMITTED)):
                instance = self._runtime.instances.get(member.name)
                if instance is not None and (names is None or member.name in names):
                    await self._runtime.routers[tier].admit(instance, member.weight)

    def _begin_tending(self, tier: str) -> None:
        runtime, machine = self._runtime, self.machines[tier]
        self._loops.append(self._tasks.create_task(self._tend(tier)))
        if (guarding := runtime.guarding.get(tier)) is not None:
            seen = partial(self._measured.sampled, tier)
            watching = guard(machine, guarding, partial(self._feed, tier), seen, self._clock.now, self._timing)
            self._loops.append(self._tasks.create_task(watching))
        if (preview := runtime.previews.get(tier)) is not None:
            showing = show(machine, preview, runtime.instances, self._timing)
            self._loops.append(self._tasks.create_task(showing))

    async def _tend(self, tier: str) -> None:
        machine = self.machines[tier]
        while True:
            for event in await self._look(tier, machine):
                self._feed(tier, event)
            self._feed(tier, on.Tick(self.now))
            await self._performer.drop_gone(tier)
            stopping = [member.name for member in machine.fleet.where(Phase.STOPPING)]
            known = [self._runtime.instances[name] for name in stopping if name in self._runtime.instances]
            await pause(self._runtime.platform, known, until_next_look(machine, self._timing, self.now))

    async def _look(self, tier: str, machine: Machine) -> list[on.Event]:
        """What is seen of the tier, less what is no longer so.

        A router's answer or a count is dropped when the instance moved, or a command was on its way to it, between
        question and answer: an admission that is still under way would undo the removal that was just seen.
        """
        before = {member.name: member.phase for member in machine.fleet.where(*UNSETTLED)}
        busy = self._performer.busy
        events = await self._observers[tier].look(machine.fleet)

        def holds(event: on.Event) -> bool:
            if not isinstance(event, on.RouterConfirmed | on.InFlightSeen | on.WeightSeen):
                return True
            member = machine.fleet.get(event.name)
            stayed = member is not None and before.get(event.name, Phase.ADMITTED) is member.phase
            return stayed and event.name not in busy and event.name not in self._performer.busy

        return [event for event in events if holds(event)]

    # -- one step ------------------------------------------------------------------------------------------------

    def _feed(self, tier: str, event: on.Event) -> Decision:
        """Have the machine decide, write the decision down, then begin to perform it."""
        machine = self.machines[tier]
        if isinstance(event, on.InstanceGone):
            self.reports.death(tier, machine.fleet.get(event.name), event)
        decision = machine.handle(event)
        if decision.is_empty:
            return decision
        finish = next((command for command in decision.commands if isinstance(command, do.Finish)), None)
        ended = None if finish is None else (finish.outcome, finish.reason)
        changed = [*(move.member for move in decision.moved), *decision.touched]
        rollout = self._journal.write_step(event.at, tier, decision.state, changed, log_lines(event, decision), ended)
        self._runtime.carry_changes(tier, changed)
        lost = any(move.before is Phase.ADMITTED for move in decision.moved)
        if isinstance(event, on.InstanceGone) and lost and not machine.fleet.serving:
            self.reports.interruption(f"{event.name} ended, and no other instance of tier {tier} was in service.")
        self.reports.step(event.at, tier, decision, rollout)
        self._start(tier, decision)
        for move in decision.moved:
            if move.after is Phase.GONE:
                self._performer.forget(tier, move.member.name)
        return decision

    def _start(self, tier: str, decision: Decision) -> None:
        acts = []
        for command in decision.commands:
            match command:
                case do.Finish():
                    self._tasks.create_task(self._finish(tier, command))
                case do.StepReached():
                    self._tasks.create_task(self._ask_hooks(tier, command))
                case do.WakeAt() | do.Note() | do.Refuse():
                    pass  # a tick comes with every look; the others are reported
                case _:
                    acts.append(command)
        self._performer.start(tier, acts)

    async def _finish(self, tier: str, finish: do.Finish) -> None:
        """Report the end of a rollout, after the platform's own view of the tier agrees with it."""
        await self.reconcile([row for row in self._journal.rollouts() if row.tier == tier][-1])
        future = self._finished.get(tier)
        if future is not None and not future.done():
            future.set_result(finish)

    async def reconcile(self, row: RolloutRow) -> None:
        """Have the platform's own view of a tier agree with its rollout, which has ended, and write how it differs."""
        if not isinstance(self._runtime.platform, Adopts):
            return
        goal = template_of(self.machines[row.tier].tier.goal)
        if differs := await settled(self._runtime, row.tier, goal, _ATTEMPTS, self._timing.resting_look):
            self._journal.write_line(self.now, row.id, row.tier, LogLine(DISAGREEMENT, differs))
            self.reports.listener(Progress(self.now, row.tier, differs, level="warning", rollout=row.id))

    async def _ask_hooks(self, tier: str, reached: do.StepReached) -> None:
        """Have the hooks allow the step, or object to it."""
        if self.before_step is None:
            return
        if (preview := self._runtime.previews.get(tier)) is not None:
            await until_shown(self.machines[tier], preview, self._runtime.instances, self._timing)
        objection = await self.before_step(tier, reached)
        self._feed(tier, on.StepAllowed(self.now, objection))


def _is_settled(machine: Machine) -> bool:
    return machine.fleet.serving == machine.settings.size == len(machine.fleet.members)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended a task group; what it took down with it is only cancelled."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
