"""A rollout in virtual time: the same Machine, a simulated world around it, `invariants.Watch` beside it.

Time jumps from one thing that happens to the next. What the machine is told, it is told at the looks of an engine that
goes round every `look` seconds; what it commands takes the time the world says. Requests are not simulated one by one:
what is in flight on an instance is drawn at the moment it is needed (`chance.Load.in_flight`).

Left out: how routers notice a dead instance by themselves; connections that are kept open while idle (give their
lifetime as a request's time where a tier is drained by connections); hosts that fail together; the weights of a canary
in what is in flight; and `order: in-flight`, which needs a look at every instance and is simulated as `age`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from heapq import heappop, heappush
from math import ceil, inf
from typing import Literal

from changeover.model.instance import InFlight
from changeover.rollout import commands as do
from changeover.rollout import events as on
from changeover.rollout.invariants import Watch
from changeover.rollout.members.fleet import Fleet, Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.simulation.distributions import Around, Fixed, Load, Random, Spread, waiting
from changeover.rollout.simulation.lower_bound import floor
from changeover.rollout.tier.actions import Action, State
from changeover.rollout.tier.machine import Machine
from changeover.rollout.tier.state import Course, RolloutSettings, Status

OLD, NEW = "old", "new"
"""The templates of a simulated rollout."""
PATIENCE = 400
"""Times the size of the tier: how much may happen until a rollout that never comes to rest is given up. One that comes
to rest needs about a dozen for each instance."""


@dataclass(frozen=True)
class SimulatedTier:
    """What surrounds the machine. Times are in seconds, rates in a second and for one serving instance."""

    start: Spread = field(default=Fixed(10.0))
    """From the command to create an instance until it is ready."""
    start_failures: float = 0.0
    """Share of starts that end with the process gone instead."""
    lifetime: float = inf
    """Mean time between failures of one instance; its process is gone, at whatever point of its life."""
    confirm: Spread = field(default=Fixed(1.0))
    """From telling the routers of an instance until every one of them has confirmed it."""
    stop: Spread = field(default=Fixed(0.2))
    """From the stop signal until the process is gone."""
    verdict: Spread = field(default=Fixed(60.0))
    """Of a canary step that is analysed, or held until somebody promotes it: how long until that happens."""
    look: float = 0.03
    """How often the engine looks; above 0."""
    uploads: Load = field(default=Load(0.02, Around(50e6, 2.0), Around(1e6, 2.0)))
    requests: Load = field(default=Load(100.0, Around(0.05, 2.0)))


@dataclass(frozen=True)
class Result:
    """What came of one simulated rollout."""

    outcome: Literal["completed", "undone", "failed", "unfinished"]
    reason: str
    seconds: float
    floor: float | None
    """What an ideal controller would have needed for the same draws (`floor`); None unless completed."""
    peak: int
    """Most instances that existed at once."""
    fewest: int
    """Fewest that served at once, failures included."""
    cut_uploads: int
    cut_requests: int
    """Still in flight when an instance was stopped at its drain deadline."""
    lost_uploads: int
    lost_requests: int
    """In flight on an instance that failed by itself: no rollout could have saved them."""
    failures: int
    """Instances that failed, at their start or later."""
    healed: int
    """Of these, how many had been taken out of the routers by the end."""
    steps: int
    """Events the machine has handled."""

    @property
    def ratio(self) -> float | None:
        """How much longer it took than the floor."""
        return self.seconds / self.floor if self.floor else None


@dataclass(slots=True, eq=False)
class _Instance:
    """The truth about one instance, of which the machine knows only what it is told."""

    name: str
    template: str
    place: int
    """Where it stands in the list of those that may fail."""
    alive: bool = True
    up: bool = False
    """It is ready."""
    told: bool | None = None
    """What its routers were told last and have not confirmed yet."""
    asked: int = 0
    """How often they were told something new: a confirmation of what was overtaken is void."""
    counts: bool = False
    """It counts as serving: admitted, and the routers have not been told to leave it out."""
    since: float | None = None
    """From when on it has got traffic; None while it gets none."""
    uploads: list[float] = field(default_factory=list)
    requests: list[float] = field(default_factory=list)
    """When each ends that was in flight when the traffic stopped."""
    stopped: bool = False


_OfInstance = do.Admit | do.SetWeight | do.Remove | do.LameDuck | do.Stop
_Happens = Callable[[], on.Event | None]


class Simulation:
    """One rollout from OLD to NEW of a tier that is whole at 0. `run` until `finished`, then ask for the `result`."""

    def __init__(self, rules: RolloutSettings, world: SimulatedTier, random: Random) -> None:
        self.rules = rules = replace(rules, by_load=False)
        self.now = 0.0
        self.steps = 0
        self.finished = False
        self._world = world
        self._random = random
        self._coming: list[tuple[float, int, _Happens]] = []
        self._number = 0
        self._ticks: set[float] = set()
        self._left = PATIENCE * rules.size + 10_000
        self._known: dict[str, _Instance] = {}
        self._running: list[_Instance] = []
        self._existing = self._peak = rules.size
        self._serving = self._fewest = rules.size
        self._cut_uploads = self._cut_requests = self._lost_uploads = self._lost_requests = 0
        self._failed: list[str] = []
        self._starts: dict[str, float] = {}
        self._drains: dict[str, float] = {}
        self._finish: do.Finish | None = None
        self._warm: list[_Instance] = []
        self._waited = 0.0
        self._step = -1
        self._places = rules.size + (rules.size if rules.strategy == "blue-green" else rules.surge)
        fleet = Fleet()
        for serial in range(1, rules.size + 1):
            name = f"{rules.tier}-{OLD}-{serial}"
            times: dict[str, float] = {"created": 0.0, Phase.READY: 0.0, Phase.ADMITTED: 0.0}
            fleet.add(Member(name, OLD, serial, Phase.ADMITTED, times=times, served=True))
            instance = self._appear(name, OLD)
            instance.up = instance.counts = True
            instance.since = -inf
        self.machine = Machine(rules, Course(OLD, serial=rules.size), fleet)
        self._watch = Watch.over(rules, fleet)
        if world.lifetime < inf:
            self._expect_a_failure()
        self._feed(on.Started(0.0, NEW))

    @property
    def replaced(self) -> int:
        """How many instances of the new template serve."""
        return self.machine.fleet.count((Phase.ADMITTED,), NEW)

    def run(self, happenings: int | None = None) -> None:
        """Let that many things happen, or as many as there are until the rollout is over."""
        end = max(0, self._left - happenings) if happenings is not None else 0
        while not self.finished and self._left > end:
            if not self._coming:
                self.finished = True
                break
            self._left -= 1
            self.now, _, happens = heappop(self._coming)
            if (event := happens()) is not None:
                self._feed(event)
        self.finished = self.finished or not self._left

    def result(self) -> Result:
        """What came of it. Ask when it is finished."""
        end = self._finish
        whole = end is not None and end.outcome == "completed"
        return Result(
            outcome=end.outcome if end else "unfinished",
            reason=end.reason if end else self._why_unfinished(),
            seconds=self.now,
            floor=self._waited + floor(self.rules, [*self._starts.values()], [*self._drains.values()])
            if whole
            else None,
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

    def _why_unfinished(self) -> str:
        course = self.machine.course
        if course.paused:
            return f"paused: {course.paused}"
        if not self._left:
            least = self.rules.size - self.rules.unavailable
            return f"instances failed as fast as they were replaced: never {least} served at once"
        return f"the machine waits for what nothing in this world would bring ({course.status})"

    # -- the machine ---------------------------------------------------------------------------------------------

    def _feed(self, event: on.Event) -> None:
        self.steps += 1
        commands = self.machine.handle(event)
        self.machine.fleet.moved.clear()
        self.machine.fleet.touched.clear()
        self._watch.step(event, commands)
        for command in commands:
            self._perform(command)
        if self.machine.course.step != self._step:
            self._next_step()
        if self.machine.course.paused:  # nobody is here who would resume it
            self.finished = True
        if (name := getattr(event, "name", "")) and self.machine.fleet.get(name) is None:
            self._known.pop(name, None)

    def _next_step(self) -> None:
        """The machine is at another step of its strategy: what it will wait for there has to come."""
        self._step = self.machine.course.step
        for instance in self._warm:
            self._later(self._seen(self.now), partial(self._count, instance, instance.asked))
        self._warm = []
        if (step := self.machine.step) is None or step.kind == "share":
            return
        seconds = inf if step.stay is None else step.stay
        waits = step.kind == "analyse" or step.stay is None
        if waits and (verdict := self._world.verdict.draw(self._random)) < seconds:
            seconds = verdict
            self._later(self._seen(self.now + seconds), partial(self._let_pass, self._step))
        self._waited += seconds

    def _let_pass(self, step: int) -> on.Event | None:
        if self.machine.course.step != step or self.machine.step is None:
            return None
        if self.machine.state is State.HOLDING:
            return on.Asked(self.now, Action.PROMOTE)
        return on.GuardSaid(self.now, "passed", "simulated")

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

    def _act(self, instance: _Instance, command: _OfInstance) -> None:
        match command:
            case do.Admit():
                self._tell_routers(instance, admitted=True)
                if self.rules.strategy == "canary":
                    self._weigh(instance, command.weight)
            case do.SetWeight():
                self._weigh(instance, command.weight)
            case do.Remove():
                self._no_longer_serves(instance)
                self._tell_routers(instance, admitted=False)
            case do.LameDuck(on=False):
                instance.told = None
                instance.asked += 1
                if instance.up:
                    self._later(self._seen(self.now), partial(self._says_ready, instance))
            case do.Stop():
                self._stop(instance)

    # -- time ----------------------------------------------------------------------------------------------------

    def _later(self, at: float, happens: _Happens) -> None:
        self._number += 1
        heappush(self._coming, (at, self._number, happens))

    def _seen(self, at: float) -> float:
        """The first look of the engine that is not before that time."""
        look = self._world.look
        time = ceil(at / look) * look
        return time if time >= at else time + look

    def _wake(self, at: float) -> None:
        at = self._seen(max(at, self.now))
        if at not in self._ticks:
            self._ticks.add(at)
            self._later(at, self._tick)

    def _tick(self) -> on.Event:
        self._ticks.discard(self.now)
        return on.Tick(self.now)

    # -- the life of an instance ---------------------------------------------------------------------------------

    def _appear(self, name: str, template: str) -> _Instance:
        instance = self._known[name] = _Instance(name, template, place=len(self._running))
        self._running.append(instance)
        return instance

    def _create(self, command: do.CreateInstance) -> None:
        instance = self._appear(command.name, command.template)
        self._existing += 1
        self._peak = max(self._peak, self._existing)
        seconds = self._world.start.draw(self._random)
        fails = self._random.random() < self._world.start_failures
        self._later(self._seen(self.now + seconds), partial(self._fails if fails else self._comes_up, instance))
        if not fails:
            self._starts[instance.name] = seconds

    def _comes_up(self, instance: _Instance) -> on.Event | None:
        instance.up = True
        return self._says_ready(instance)

    def _says_ready(self, instance: _Instance) -> on.Event | None:
        return on.InstanceReady(self.now, instance.name) if instance.alive else None

    def _fails(self, instance: _Instance) -> on.Event | None:
        if not instance.alive or instance.stopped:
            return None
        self._break(instance)
        return self._has_failed(instance)

    def _has_failed(self, instance: _Instance) -> on.Event:
        self._failed.append(instance.name)
        return on.InstanceGone(self.now, instance.name, "its process ended")

    def _stop(self, instance: _Instance) -> None:
        if instance.stopped or not instance.alive:
            return
        instance.stopped = True
        self._take_away(instance)
        self._cut_uploads += self._unfinished(instance.uploads)
        self._cut_requests += self._unfinished(instance.requests)
        self._later(self.now, partial(on.StopSent, self.now, instance.name))
        self._later(self._seen(self.now + self._world.stop.draw(self._random)), partial(self._ends, instance))

    def _ends(self, instance: _Instance) -> on.Event:
        instance.alive = False
        self._existing -= 1
        return on.InstanceGone(self.now, instance.name)

    # -- failures ------------------------------------------------------------------------------------------------

    def _expect_a_failure(self) -> None:
        """Of any of the places an instance may take. Where the place is empty then, nothing fails (thinning)."""
        self._later(self.now + waiting(self._random, self._world.lifetime / self._places), self._one_may_fail)

    def _one_may_fail(self) -> None:
        place = int(self._random.random() * self._places)
        if place < len(self._running):
            instance = self._running[place]
            self._break(instance)
            self._later(self._seen(self.now), partial(self._has_failed, instance))
        self._expect_a_failure()

    def _break(self, instance: _Instance) -> None:
        self._stop_traffic(instance)
        self._no_longer_serves(instance)
        self._lost_uploads += self._unfinished(instance.uploads)
        self._lost_requests += self._unfinished(instance.requests)
        instance.alive = False
        self._existing -= 1
        self._starts.pop(instance.name, None)
        self._drains.pop(instance.name, None)
        self._take_away(instance)

    def _take_away(self, instance: _Instance) -> None:
        """From those that may fail, by moving the last one to its place."""
        last = self._running.pop()
        if last is not instance:
            self._running[instance.place] = last
            last.place = instance.place

    # -- routers and traffic -------------------------------------------------------------------------------------

    def _tell_routers(self, instance: _Instance, *, admitted: bool) -> None:
        if instance.told is admitted:
            return
        instance.told = admitted
        instance.asked += 1
        at = self._seen(self.now + self._world.confirm.draw(self._random))
        self._later(at, partial(self._confirm, instance, instance.asked))

    def _confirm(self, instance: _Instance, asked: int) -> on.Event | None:
        if instance.asked != asked:
            return None
        admitted, instance.told = bool(instance.told), None
        if admitted and instance.alive:
            instance.since = self.now if instance.since is None else instance.since
            instance.counts = True
            self._serving += 1
        elif instance.alive:
            self._stop_traffic(instance)
            if instance.template == OLD:
                self._drains[instance.name] = self._drain(instance)
            self._later(self.now, partial(self._count, instance, asked))
        return on.RouterConfirmed(self.now, instance.name, admitted)

    def _weigh(self, instance: _Instance, weight: int) -> None:
        at = self._seen(self.now + self._world.confirm.draw(self._random))
        self._later(at, partial(on.WeightSeen, at, instance.name, weight))

    def _no_longer_serves(self, instance: _Instance) -> None:
        if instance.counts:
            instance.counts = False
            self._serving -= 1
            self._fewest = min(self._fewest, self._serving)

    def _stop_traffic(self, instance: _Instance) -> None:
        """From now on nothing new comes; what has come and is not done yet is drawn here."""
        if instance.since is None:
            return
        age = self.now - instance.since
        instance.since = None
        instance.uploads = self._still(instance.uploads, self._world.uploads.in_flight(self._random, age))
        instance.requests = self._still(instance.requests, self._world.requests.in_flight(self._random, age))

    def _still(self, before: Sequence[float], new: Sequence[float]) -> list[float]:
        return [end for end in before if end > self.now] + [self.now + left for left in new]

    def _unfinished(self, ends: Sequence[float]) -> int:
        return sum(end > self.now for end in ends)

    def _drain(self, instance: _Instance) -> float:
        """Seconds until everything in flight is done, or cut."""
        left = max(0.0, max((*instance.uploads, *instance.requests), default=0.0) - self.now)
        if not self.rules.cut_at_deadline:
            return left
        warm = self.rules.bake if self.rules.strategy == "blue-green" else 0.0
        return min(left, warm + self.rules.drain_deadline)

    def _count(self, instance: _Instance, asked: int) -> on.Event | None:
        """Look at what is in flight: now, when the last of it has ended, and then until it is told to stop."""
        if not instance.alive or instance.stopped or instance.asked != asked:
            return None
        busy = self._unfinished(instance.uploads) + self._unfinished(instance.requests)
        if not busy and self._stays_warm(instance):
            self._warm.append(instance)
        else:
            next_look = max((*instance.uploads, *instance.requests)) if busy else self.now + self._world.look
            self._later(self._seen(next_look), partial(self._count, instance, asked))
        return on.InFlightSeen(self.now, instance.name, InFlight(busy, busy))

    def _stays_warm(self, instance: _Instance) -> bool:
        """It is empty, and the machine will not want to know more of it before its next step."""
        course = self.machine.course
        bakes = course.status is Status.ROLLING and course.strategy == "blue-green" and course.step < 2
        return bakes and instance.template == OLD


def simulate(rules: RolloutSettings, world: SimulatedTier, random: Random) -> Result:
    """One whole rollout. Raises Violation where the machine does what it must not."""
    simulation = Simulation(rules, world, random)
    simulation.run()
    return simulation.result()
