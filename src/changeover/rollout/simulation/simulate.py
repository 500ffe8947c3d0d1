"""A rollout in virtual time: the same Machine, a simulated tier around it, `invariants.Watch` beside it.

Time jumps from one event to the next. The machine gets events at the looks of an engine that looks every `look`
seconds; its commands take the time that the tier's model says. Requests are not simulated one by one: what is in
flight on an instance is drawn when it is needed (`TrafficModel.in_flight`).

Left out: how routers notice a dead instance by themselves; connections that are kept open while idle (give their
lifetime as a request's time where a tier is drained by connections); hosts that fail together; the weights of a canary
in what is in flight; and `order: in-flight`, which needs a look at every instance and is simulated as `age`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from math import ceil, inf

from changeover.model.instance import InFlight
from changeover.rollout import commands as do
from changeover.rollout import events as on
from changeover.rollout.agenda import Agenda
from changeover.rollout.invariants import Watch
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.simulation.distributions import Random, waiting_time
from changeover.rollout.simulation.instance import SimulatedInstance
from changeover.rollout.simulation.lower_bound import lower_bound
from changeover.rollout.simulation.model import NEW, OLD, SimulatedTier, SimulationResult
from changeover.rollout.tier.actions import Action, TierStatus
from changeover.rollout.tier.machine import Machine
from changeover.rollout.tier.settings import RolloutSettings
from changeover.rollout.tier.state import Baking, Prepared, Preparing, Switching, TierState

MAX_EVENTS_PER_INSTANCE = 400
"""Events, per instance of the tier, until a rollout that does not end is given up. Others need about a dozen."""


_InstanceCommand = do.Admit | do.SetWeight | do.Remove | do.LameDuck | do.Stop
_Happens = Callable[[], on.Event | None]


class Simulation:
    """One rollout from OLD to NEW of a tier that is whole at 0. `run` until `finished`, then ask for the `result`."""

    def __init__(self, settings: RolloutSettings, tier: SimulatedTier, random: Random) -> None:
        self.settings = settings = replace(settings, by_load=False)
        self.now = 0.0
        self.steps = 0
        self.finished = False
        self._tier = tier
        self._random = random
        self._agenda = Agenda[_Happens]()
        self._happening: Iterator[_Happens] = iter(())
        """The rest of what happens now."""
        self._ticks: set[float] = set()
        self._left = MAX_EVENTS_PER_INSTANCE * settings.size + 10_000
        self._known: dict[str, SimulatedInstance] = {}
        self._running: list[SimulatedInstance] = []
        self._existing = self._peak = settings.size
        self._serving = self._fewest = settings.size
        self._cut_uploads = self._cut_requests = self._lost_uploads = self._lost_requests = 0
        self._failed: list[str] = []
        self._starts: dict[str, float] = {}
        self._drains: dict[str, float] = {}
        self._finish: do.Finish | None = None
        self._warm: list[SimulatedInstance] = []
        self._waited = 0.0
        self._step: tuple[str, int] | None = None
        self._places = settings.size + (settings.size if settings.strategy == "blue-green" else settings.surge)
        fleet = Fleet()
        for serial in range(1, settings.size + 1):
            name = f"{settings.tier}-{OLD}-{serial}"
            times: dict[str, float] = {"created": 0.0, Phase.READY: 0.0, Phase.ADMITTED: 0.0}
            fleet.add(Member(name, OLD, serial, Phase.ADMITTED, times=times, served=True))
            instance = self._appear(name, OLD)
            instance.up = instance.counts = True
            instance.since = -inf
        # What is in flight here are uploads, and those are never cut as long-lived.
        self.machine = Machine(replace(settings, long_lived_after=inf), TierState(OLD, serial=settings.size), fleet)
        self._watch = Watch.over(settings, fleet)
        if tier.lifetime < inf:
            self._expect_a_failure()
        self._feed(on.Started(0.0, NEW))

    @property
    def replaced(self) -> int:
        """How many instances of the new template serve."""
        return self.machine.fleet.count((Phase.ADMITTED,), NEW)

    def run(self, events: int | None = None) -> None:
        """Let that many events happen, or as many as there are until the rollout is over."""
        end = max(0, self._left - events) if events is not None else 0
        while not self.finished and self._left > end:
            if (happens := next(self._happening, None)) is None:
                if self._agenda.next == inf:
                    self.finished = True
                    break
                self.now, self._happening = self._agenda.next, iter(self._agenda.take())
                continue
            self._left -= 1
            if (event := happens()) is not None:
                self._feed(event)
        self.finished = self.finished or not self._left

    def result(self) -> SimulationResult:
        """The outcome. Ask when it is finished."""
        end = self._finish
        whole = end is not None and end.outcome == "completed"
        return SimulationResult(
            outcome=end.outcome if end else "unfinished",
            reason=end.reason if end else self._why_unfinished(),
            seconds=self.now,
            lower_bound=self._lower_bound() if whole else None,
            peak=self._peak,
            fewest=self._fewest,
            cut_uploads=self._cut_uploads,
            cut_requests=self._cut_requests,
            lost_uploads=self._lost_uploads,
            lost_requests=self._lost_requests,
            failures=len(self._failed),
            healed=sum(self.machine.fleet.get(name) is None for name in self._failed),
            steps=self.steps,
        )

    def _lower_bound(self) -> float:
        return self._waited + lower_bound(self.settings, [*self._starts.values()], [*self._drains.values()])

    def _why_unfinished(self) -> str:
        if paused := self.machine.tier.paused:
            return f"paused: {paused}"
        if not self._left:
            least = self.settings.size - self.settings.unavailable
            return f"instances failed as fast as they were replaced: never {least} served at once"
        return f"the machine waits for an event that this simulation does not have ({self.machine.status})"

    # -- the machine ---------------------------------------------------------------------------------------------

    def _feed(self, event: on.Event) -> None:
        self.steps += 1
        decision = self.machine.handle(event)
        self._watch.step(event, decision.commands)
        for command in decision.commands:
            self._perform(command)
        if decision.state_changed:
            if self.machine.step_key != self._step:
                self._next_step()
            if decision.state.paused:  # no operator resumes it
                self.finished = True
        if (name := getattr(event, "name", "")) and self.machine.fleet.get(name) is None:
            self._known.pop(name, None)

    def _next_step(self) -> None:
        """The machine is at another step of its strategy: schedule what ends the step."""
        self._step = self.machine.step_key
        for instance in self._warm:
            self._agenda.add(self._seen(self.now), partial(self._count, instance, instance.changes))
        self._warm = []
        if (step := self.machine.step) is None or step.kind == "share":
            return
        seconds = inf if step.stay is None else step.stay
        waits = step.kind == "analyse" or step.stay is None
        if waits and (verdict := self._tier.verdict.draw(self._random)) < seconds:
            seconds = verdict
            self._agenda.add(self._seen(self.now + seconds), partial(self._pass_step, self._step))
        self._waited += seconds

    def _pass_step(self, step: tuple[str, int]) -> on.Event | None:
        if self.machine.step_key != step:
            return None
        if self.machine.status is TierStatus.HOLDING:
            return on.ActionRequested(self.now, Action.PROMOTE)
        return on.GuardJudged(self.now, "passed", "simulated")

    def _perform(self, command: do.Command) -> None:
        match command:
            case do.WakeAt():
                self._wake(command.at)
            case do.CreateInstance():
                self._create(command)
            case do.Finish():
                self._finish, self.finished = command, True
            case do.Admit() | do.SetWeight() | do.Remove() | do.LameDuck() | do.Stop():
                if (instance := self._known.get(command.name)) is not None:
                    self._act(instance, command)

    def _act(self, instance: SimulatedInstance, command: _InstanceCommand) -> None:
        match command:
            case do.Admit():
                self._change_membership(instance, admitted=True)
                if self.settings.strategy == "canary":
                    self._weigh(instance, command.weight)
            case do.SetWeight():
                self._weigh(instance, command.weight)
            case do.Remove():
                self._stop_serving(instance)
                self._change_membership(instance, admitted=False)
            case do.LameDuck(on=False):
                instance.unconfirmed = None
                instance.changes += 1
                if instance.up:
                    self._agenda.add(self._seen(self.now), partial(self._reports_ready, instance))
            case do.Stop():
                self._stop(instance)

    # -- time ----------------------------------------------------------------------------------------------------

    def _seen(self, at: float) -> float:
        """The first look of the engine that is not before that time."""
        look = self._tier.look
        time = ceil(at / look) * look
        return time if time >= at else time + look

    def _wake(self, at: float) -> None:
        at = self._seen(max(at, self.now))
        if at not in self._ticks:
            self._ticks.add(at)
            self._agenda.add(at, self._tick)

    def _tick(self) -> on.Event:
        self._ticks.discard(self.now)
        return on.Tick(self.now)

    # -- the life of an instance ---------------------------------------------------------------------------------

    def _appear(self, name: str, template: str) -> SimulatedInstance:
        instance = self._known[name] = SimulatedInstance(name, template, place=len(self._running))
        self._running.append(instance)
        return instance

    def _create(self, command: do.CreateInstance) -> None:
        instance = self._appear(command.name, command.template)
        self._existing += 1
        self._peak = max(self._peak, self._existing)
        seconds = self._tier.start.draw(self._random)
        fails = self._random.random() < self._tier.start_failures
        self._agenda.add(self._seen(self.now + seconds), partial(self._fails if fails else self._comes_up, instance))
        if not fails:
            self._starts[instance.name] = seconds

    def _comes_up(self, instance: SimulatedInstance) -> on.Event | None:
        instance.up = True
        return self._reports_ready(instance)

    def _reports_ready(self, instance: SimulatedInstance) -> on.Event | None:
        return on.InstanceReady(self.now, instance.name) if instance.alive else None

    def _fails(self, instance: SimulatedInstance) -> on.Event | None:
        if not instance.alive or instance.stopped:
            return None
        self._break(instance)
        return self._has_failed(instance)

    def _has_failed(self, instance: SimulatedInstance) -> on.Event:
        self._failed.append(instance.name)
        return on.InstanceGone(self.now, instance.name, "its process ended")

    def _stop(self, instance: SimulatedInstance) -> None:
        if instance.stopped or not instance.alive:
            return
        instance.stopped = True
        self._take_away(instance)
        uploads, requests = instance.unfinished(self.now)
        self._cut_uploads += uploads
        self._cut_requests += requests
        self._agenda.add(self.now, partial(on.StopSent, self.now, instance.name))
        self._agenda.add(self._seen(self.now + self._tier.stop.draw(self._random)), partial(self._ends, instance))

    def _ends(self, instance: SimulatedInstance) -> on.Event:
        instance.alive = False
        self._existing -= 1
        return on.InstanceGone(self.now, instance.name)

    # -- failures ------------------------------------------------------------------------------------------------

    def _expect_a_failure(self) -> None:
        """Of any of the places an instance may take. Where the place is empty then, nothing fails (thinning)."""
        self._agenda.add(self.now + waiting_time(self._random, self._tier.lifetime / self._places), self._one_may_fail)

    def _one_may_fail(self) -> None:
        place = int(self._random.random() * self._places)
        if place < len(self._running):
            instance = self._running[place]
            self._break(instance)
            self._agenda.add(self._seen(self.now), partial(self._has_failed, instance))
        self._expect_a_failure()

    def _break(self, instance: SimulatedInstance) -> None:
        instance.stop_traffic(self._tier, self._random, self.now)
        self._stop_serving(instance)
        uploads, requests = instance.unfinished(self.now)
        self._lost_uploads += uploads
        self._lost_requests += requests
        instance.alive = False
        self._existing -= 1
        self._starts.pop(instance.name, None)
        self._drains.pop(instance.name, None)
        self._take_away(instance)

    def _take_away(self, instance: SimulatedInstance) -> None:
        """From those that may fail, by moving the last one to its place."""
        last = self._running.pop()
        if last is not instance:
            self._running[instance.place] = last
            last.place = instance.place

    # -- routers and traffic -------------------------------------------------------------------------------------

    def _change_membership(self, instance: SimulatedInstance, *, admitted: bool) -> None:
        if instance.unconfirmed is admitted:
            return
        instance.unconfirmed = admitted
        instance.changes += 1
        at = self._seen(self.now + self._tier.confirm.draw(self._random))
        self._agenda.add(at, partial(self._confirm, instance, instance.changes))

    def _confirm(self, instance: SimulatedInstance, change: int) -> on.Event | None:
        if instance.changes != change:
            return None
        admitted, instance.unconfirmed = bool(instance.unconfirmed), None
        if admitted and instance.alive:
            instance.since = self.now if instance.since is None else instance.since
            instance.counts = True
            self._serving += 1
        elif instance.alive:
            instance.stop_traffic(self._tier, self._random, self.now)
            if instance.template == OLD:
                self._drains[instance.name] = self._drain(instance)
            self._agenda.add(self.now, partial(self._count, instance, change))
        return on.RouterConfirmed(self.now, instance.name, admitted)

    def _weigh(self, instance: SimulatedInstance, weight: int) -> None:
        at = self._seen(self.now + self._tier.confirm.draw(self._random))
        self._agenda.add(at, partial(on.WeightSeen, at, instance.name, weight))

    def _stop_serving(self, instance: SimulatedInstance) -> None:
        if instance.counts:
            instance.counts = False
            self._serving -= 1
            self._fewest = min(self._fewest, self._serving)

    def _drain(self, instance: SimulatedInstance) -> float:
        """Seconds until everything in flight is done, or cut."""
        left = max(0.0, instance.last_end - self.now)
        if not self.settings.cut_at_deadline:
            return left
        warm = self.settings.bake if self.settings.strategy == "blue-green" else 0.0
        return min(left, warm + self.settings.drain_deadline)

    def _count(self, instance: SimulatedInstance, change: int) -> on.Event | None:
        """Look at what is in flight: now, when the last of it has ended, and then until it is stopped."""
        if not instance.alive or instance.stopped or instance.changes != change:
            return None
        busy = sum(instance.unfinished(self.now))
        if not busy and self._stays_warm(instance):
            self._warm.append(instance)
        else:
            next_look = instance.last_end if busy else self.now + self._tier.look
            self._agenda.add(self._seen(next_look), partial(self._count, instance, change))
        return on.InFlightSeen(self.now, instance.name, InFlight(busy, busy))

    def _stays_warm(self, instance: SimulatedInstance) -> bool:
        """It is empty, and the machine will not want to know more of it before its next step."""
        keeps = isinstance(self.machine.tier.position, Preparing | Prepared | Switching | Baking)
        return keeps and instance.template == OLD


def simulate(settings: RolloutSettings, tier: SimulatedTier, random: Random) -> SimulationResult:
    """One whole rollout. Raises Violation where the machine does what it must not."""
    simulation = Simulation(settings, tier, random)
    simulation.run()
    return simulation.result()
