"""The rollout of one tier as a state machine: `handle(event)` returns the commands that follow from it.

Rule 1: nothing but `handle` changes the state, and only through the phase table.
Rule 2: the same events give the same commands. Time comes with the events; names come from a counter.
Rule 3: a command whose effect has not been seen is given again after RETRY; it is the observation that moves an
        instance on, never the fact that something was asked.

A tier at rest is the same machine with nothing to replace: that is how a dead instance is healed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf
from typing import Literal

from changeover.model.chain import Strategy
from changeover.rollout import commands as do
from changeover.rollout import events as on
from changeover.rollout.actions import ANSWERS, Action, State
from changeover.rollout.fleet import DEFAULT_WEIGHT, Fleet, Member
from changeover.rollout.phases import STARTING, STAYING, Cause, Phase
from changeover.rollout.strategies import blue_green, canary, rolling
from changeover.rollout.strategies.moves import Moves, Want

RETRY = 2.0
"""Seconds after which a command without visible effect is given again."""
QUIET_OBSERVATIONS = 2
"""Empty observations in a row before an instance counts as drained. One is not enough: a proxy's worker threads learn
of a removal a moment after its main thread has confirmed it, and may still open one last connection."""
STOP_GRACE = 10.0
"""Seconds an instance with nothing in flight has to end after its stop signal, before it is killed."""
MAX_FAILURES = 3
"""Starts that must have failed at the least until a template is given up. Of many that are started at once it is half
of them, so that a few that fail whatever they run undo nothing; each one that is admitted makes up for one."""
MAX_BACKOFF = 30.0
"""Longest pause, in seconds, between two attempts to replace an instance of a tier at rest that keeps failing."""


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
class Rules:
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
    strategy: Strategy = "rolling"
    step: int = 0
    """Of a canary: the step it is at. Of blue-green: 0 until the switch, 1 while baking, 2 after."""
    step_at: float = 0.0
    """When that step began to be waited in."""
    paused: str = ""
    """Who or what paused it, and why; empty while it goes on."""
    before: str | None = None
    """The template before the last completed rollout: where `undo` leads."""
    tried: str | None = None
    """The template of the last rollout that was undone: what `retry` tries again."""


class Machine:
    """One tier. `fleet` and `course` are all the state there is; both are written to the journal after every step."""

    def __init__(self, rules: Rules, course: Course, fleet: Fleet) -> None:
        self.rules = rules
        self.course = course
        self.fleet = fleet
        self._out: list[do.Command] = []
        self._moves = self._next_moves()
        self._weighing = any(member.weight != DEFAULT_WEIGHT for member in fleet)
        self._weights: tuple[str, int, int] | None = None
        """The goal, and the weights that its instances and the others have been given."""
        self._unweighed = {member.name for member in fleet if member.weight != member.weight_seen}

    def handle(self, event: on.Event) -> list[do.Command]:
        """Take in one event and say what follows from it."""
        self._out = []
        match event:
            case on.Started():
                self._start(event)
            case on.Asked():
                self._asked(event)
            case on.GuardSaid():
                self._guard(event)
            case on.Tick():
                self._tick(event.at)
            case _:
                name = getattr(event, "name", "")
                if (member := self.fleet.get(name)) is not None:
                    self._of_member(member, event)
                    if member.phase is Phase.GONE:
                        self._unweighed.discard(name)
        if self.course.status is not Status.FAILED:
            self._move_on(event.at)
        return self._out

    @property
    def state(self) -> State:
        """The tier as somebody who asks for something finds it."""
        if self.course.status is Status.ROLLING:
            if self.course.paused:
                return State.PAUSED
            return State.HOLDING if self._holds() else State.ROLLING
        return State(self.course.status.value)

    @property
    def step(self) -> Step | None:
        """The canary step it is at, if it is at one."""
        course = self.course
        if course.status is not Status.ROLLING or course.strategy != "canary" or course.previous is None:
            return None
        return self.rules.steps[course.step] if course.step < len(self.rules.steps) else None

    @property
    def share(self) -> int:
        """The percentage of the traffic that the goal is to have just now."""
        if self.step is None:
            return 100
        shares = [step.share for step in self.rules.steps[: self.course.step + 1] if step.kind == "share"]
        return shares[-1] if shares else 0

    @property
    def want(self) -> Want:
        """What strategies are asked with."""
        rules = self.rules
        return Want(self.course.goal, rules.size, rules.surge, rules.unavailable, rules.by_load)

    def _holds(self) -> bool:
        step = self.step
        return step is not None and step.kind == "pause" and step.stay is None

    def _bakes(self) -> bool:
        return self.course.strategy == "blue-green" and self.course.step == 1

    # -- what was asked ------------------------------------------------------------------------------------------

    def _start(self, event: on.Started) -> None:
        if event.goal == self.course.goal and self.course.status in (Status.ROLLING, Status.UNDOING):
            return
        # The way back leads to the last template that was whole, never to one that was still on its way in.
        match self.course.status:
            case Status.ROLLING:
                came_from = self.course.previous
            case Status.FAILED:
                came_from = None
            case _:
                came_from = self.course.goal if self.course.serial else None
        self.course = replace(
            self.course,
            goal=event.goal,
            previous=came_from,
            status=Status.ROLLING,
            reason="",
            failures=0,
            deaths=0,
            admissions=self.fleet.count((Phase.ADMITTED,), event.goal),
            not_before=event.at,
            strategy=self._strategy(came_from, event),
            paused="",
        )
        self._go_to_step(0, event.at)

    def _strategy(self, came_from: str | None, event: on.Started) -> Strategy:
        """The one that was asked for, where it is possible."""
        if came_from in (None, event.goal):
            return "rolling"  # with nothing to compare with or to switch from there are no steps to take
        wanted = event.strategy or self.rules.strategy
        if wanted == "blue-green" and any(member.template not in (came_from, event.goal) for member in self.fleet):
            self._note("instances of a third template are there, so this is no switch between two colours: rolling")
            return "rolling"
        return wanted

    def _go_to_step(self, number: int, at: float, done: str = "") -> None:
        """Say which step is next, and wait for leave to take it where somebody is to be asked."""
        self.course = replace(self.course, step=number, step_at=at)
        if (step := self.step) is not None:
            self._out.append(do.StepReached(str(step), done))
            if self.rules.ask_first:
                self.course = replace(self.course, paused=f"asking whether to take the step: {step}")
        self._wake_for_step()

    @property
    def _step_ends(self) -> float:
        """When time alone brings what it waits for where it is."""
        if self._bakes():
            return self.course.step_at + self.rules.bake
        step = self.step
        return inf if step is None or step.stay is None else self.course.step_at + step.stay

    def _wake_for_step(self) -> None:
        if (ends := self._step_ends) < inf:
            self._out.append(do.WakeAt(ends))

    def _asked(self, event: on.Asked) -> None:
        answer = ANSWERS[self.state, event.action]
        if not answer.done:
            self._out.append(do.Refuse(answer.says))
            return
        course = self.course
        match event.action:
            case Action.PAUSE:
                self._pause(event.why or f"{event.who} asked")
            case Action.RESUME:
                self.course = replace(course, paused="", step_at=event.at)
                self._wake_for_step()
            case Action.PROMOTE | Action.PROMOTE_FULL if self.step is None and not self._bakes():
                self._out.append(do.Refuse("there is no step to promote: it goes on by itself"))
            case Action.PROMOTE:
                self.course = replace(course, paused="")
                self._go_to_step(course.step + 1, event.at, str(self.step or ""))
            case Action.PROMOTE_FULL:
                self.course = replace(course, paused="")
                self._go_to_step(max(2, len(self.rules.steps)), event.at)
            case Action.ABORT | Action.UNDO if course.status is Status.ROLLING:
                self._undo(event.why or f"{event.who} asked to {event.action}")
            case Action.UNDO if course.before is not None:
                self._start(on.Started(event.at, course.before, "rolling"))
            case Action.RETRY if course.status is Status.FAILED:
                self._start(on.Started(event.at, course.goal))
            case Action.RETRY if course.tried is not None:
                self._start(on.Started(event.at, course.tried))
            case _:
                self._out.append(do.Refuse("there is no earlier rollout to go by"))
        if not any(isinstance(said, do.Note | do.Refuse | do.Finish) for said in self._out):
            self._note(f"{event.action}, asked by {event.who}: {answer.says}")

    def _pause(self, why: str) -> None:
        draining = self.fleet.count((Phase.LEAVING, Phase.DRAINING))
        goes_on = f"; {draining} drains under way go on to their end" if draining else ""
        self._note(f"paused: {why}{goes_on}", level="warning")
        self.course = replace(self.course, paused=self.course.paused or why)

    def _guard(self, event: on.GuardSaid) -> None:
        if self.course.status is not Status.ROLLING:
            return
        match event.verdict:
            case "failed":
                self._undo(f"guard: {event.reason}")
            case "inconclusive" if not self.course.paused:
                self._pause(f"guard: {event.reason}")
            case "passed" if (step := self.step) is not None and step.kind == "analyse":
                self._note(f"analysis passed: {event.reason}")
                self._go_to_step(self.course.step + 1, event.at, str(step))

    def _undo(self, reason: str) -> None:
        if self.course.status is not Status.ROLLING:
            return
        back = self.course.previous
        if back is None:
            self.course = replace(self.course, status=Status.FAILED, reason=reason)
            self._out.append(do.Finish("failed", reason))
            return
        if back == self.course.goal:  # nowhere else to go: what is missing is healed, as ever
            self.course = replace(self.course, previous=None, status=Status.RESTING)
            self._out.append(do.Finish("failed", reason))
            return
        self._note(f"going back from {self.course.goal} to {back}: {reason}", level="warning")
        self.course = replace(
            self.course,
            goal=back,
            previous=None,
            status=Status.UNDOING,
            reason=reason,
            failures=0,
            admissions=self.fleet.count((Phase.ADMITTED,), back),
            paused="",
            tried=self.course.goal,
        )

    # -- what was seen -------------------------------------------------------------------------------------------

    def _of_member(self, member: Member, event: on.Event) -> None:
        match event:
            case on.InstanceReady():
                if self.fleet.move(member, Cause.BECAME_READY, event.at):
                    self._out.append(do.WakeAt(event.at + self.rules.min_ready))
                    self._warm(member, event.at)
            case on.InstanceUnready():
                served = member.phase is Phase.ADMITTED
                if self.fleet.move(member, Cause.BECAME_UNREADY, event.at) and served:
                    member.patience_from = event.at
                    self._note("is not ready any more", member.name, "warning")
                    self._lost(member, f"{member.name} served and is not ready any more", event.at)
            case on.InstanceGone():
                self._gone(member, event)
            case on.RouterConfirmed(admitted=True):
                if self.fleet.move(member, Cause.ADMISSION_CONFIRMED, event.at):
                    member.served = True
                    if member.template == self.course.goal:
                        self._admitted(event.at)
            case on.RouterConfirmed(admitted=False):
                if self.fleet.move(member, Cause.REMOVAL_CONFIRMED, event.at) and member.phase is Phase.DRAINING:
                    self._begin_drain(member, event.at)
            case on.Unconfirmed():
                if event.silent:
                    member.patience_from = event.at
                self._note(f"{member.phase}: no confirmation from {event.who}; waiting", member.name, "warning")
            case on.InFlightSeen():
                self._count(member, event)
            case on.WeightSeen():
                self._weight_seen(member, event)
            case on.StopSent():
                self.fleet.move(member, Cause.STOP_SENT, event.at)

    def _admitted(self, at: float) -> None:
        course = self.course
        failures = 0 if course.status is Status.RESTING else max(0, course.failures - 1)
        self.course = replace(course, failures=failures, admissions=course.admissions + 1, admitted_at=at)

    def _gone(self, member: Member, event: on.InstanceGone) -> None:
        was, reason = member.phase, event.reason or "the process ended"
        if not self.fleet.move(member, Cause.EXITED, event.at):
            return
        if was in (Phase.CREATING, Phase.WARMING, Phase.READY) and not member.served:
            self._failed_to_start(member, f"{member.name} did not start: {reason}", event.at)
        elif was is not Phase.STOPPING:
            self._note(f"died while {was}: {reason}", member.name, "warning")
            self._lost(member, f"{member.name} died while {was}: {reason}", event.at)
        if member.phase is Phase.FAILED:
            self._out.append(do.Remove(member.name))
            member.asked_at = event.at

    def _lost(self, member: Member, reason: str, at: float) -> None:
        """An instance that served is lost. If that soon befalls most of the new ones, they are not fit to serve.

        Most, and not just some: of ten thousand a few will die early whatever they run.
        """
        soon = at < member.times.get(Phase.ADMITTED, at) + self.rules.progress_deadline
        if soon and self.course.status is Status.ROLLING and member.template == self.course.goal:
            self.course = replace(self.course, deaths=self.course.deaths + 1)
            if self.course.deaths >= max(MAX_FAILURES, self.course.admissions / 2):
                self._undo(reason)

    def _failed_to_start(self, member: Member, reason: str, at: float) -> None:
        self._note(reason, member.name, "warning")
        if member.template not in (self.course.goal, self.course.previous):
            return
        failures, starting = self.course.failures + 1, self.fleet.count(STARTING, member.template)
        self.course = replace(self.course, failures=failures)
        hopeless = failures >= max(MAX_FAILURES, starting / 2)
        new = member.template == self.course.goal
        if self.course.status is Status.ROLLING and new and not self.course.paused:
            if not hopeless:
                return
            self._undo(reason)
        elif self.course.status is Status.UNDOING and hopeless:
            # There is nowhere else to go. The tier is left to healing, and whoever waits for the end is told.
            self.course = replace(self.course, status=Status.RESTING)
            self._out.append(do.Finish("failed", f"the way back is barred too: {reason}"))
        if member.template in (self.course.goal, self.course.previous) and failures > starting:
            pause = min(MAX_BACKOFF, 2.0 ** min(failures - 1, 10))
            self.course = replace(self.course, not_before=at + pause)
            self._out.append(do.WakeAt(at + pause))

    def _begin_drain(self, member: Member, at: float) -> None:
        member.quiet = 0
        if Phase.READY not in member.times:
            # No router was ever told of it, so nothing is in flight. What never got ready may never say so itself.
            self.fleet.move(member, Cause.EMPTIED, at)
            self._ask(member, at)
        elif not self._kept(member):
            self._give_deadline(member, at)

    def _give_deadline(self, member: Member, at: float) -> None:
        member.deadline = at + self.rules.drain_deadline
        self._out.append(do.WakeAt(member.deadline))

    def _count(self, member: Member, event: on.InFlightSeen) -> None:
        self.fleet.see(member, event.in_flight)
        if event.in_flight.busy:
            member.quiet = 0
            if member.phase in (Phase.LEAVING, Phase.DRAINING):
                member.last_busy = event.at
            self._check_deadline(member, event.at)
            return
        if member.phase is Phase.DRAINING:
            member.quiet += 1
            self._check_empty(member, event.at)

    def _check_empty(self, member: Member, at: float) -> None:
        if member.quiet >= QUIET_OBSERVATIONS and not self._kept(member) and self.fleet.move(member, Cause.EMPTIED, at):
            self._ask(member, at)

    def _kept(self, member: Member) -> bool:
        """The old colour of a blue-green rollout is kept running, empty, until it can no longer be wanted back."""
        return self._moves.warm and member.template == self.course.previous

    # -- what time brings ----------------------------------------------------------------------------------------

    def _tick(self, at: float) -> None:
        for member in self.fleet.due(at, self._due):
            match member.phase:
                case Phase.CREATING | Phase.READY:
                    self._check_start(member, at)
                case Phase.WARMING:
                    self._warm(member, at)
                case Phase.DRAINING:
                    self._check_deadline(member, at)
            if at >= member.asked_at + RETRY:
                self._ask(member, at)

    def _due(self, member: Member) -> float:
        """From when on a Tick may do something with a member. Whatever `_tick` compares with `at` belongs in here."""
        retry = member.asked_at + RETRY
        match member.phase:
            case Phase.READY if self._holds_back(member):
                return inf
            case Phase.CREATING | Phase.READY:
                patience = member.patience_from + self.rules.progress_deadline
                asked = member.phase is Phase.READY or Phase.LEAVING in member.times
                return min(patience, retry) if asked else patience
            case Phase.WARMING:
                return member.since + self.rules.min_ready
            case Phase.ADMITTED if member.weight != member.weight_seen:
                return retry
            case Phase.DRAINING:
                return inf if member.deadline is None or member.overdue else member.deadline
            case Phase.STOPPING:
                return max(retry, member.since + STOP_GRACE)
            case Phase.LEAVING | Phase.DRAINED | Phase.FAILED:
                return retry
            case _:
                return inf

    def _warm(self, member: Member, at: float) -> None:
        if at >= member.since + self.rules.min_ready and self.fleet.move(member, Cause.READY_LONG_ENOUGH, at):
            self._ask(member, at)

    def _holds_back(self, member: Member) -> bool:
        """It is ready, and waits for the others of its colour."""
        return not self._moves.admit and member.template == self.course.goal

    def _check_start(self, member: Member, at: float) -> None:
        if at < member.patience_from + self.rules.progress_deadline:
            return
        waited = at - member.patience_from
        missing = "ready" if member.phase is Phase.CREATING else "healthy in the eyes of its router"
        reason = f"{member.name} was not {missing} after {waited:.0f} s (progress_deadline)"
        member.given_up = True
        self._retire(member, at)
        new = member.template == self.course.goal
        if self.course.status is Status.ROLLING and new and self.course.admitted_at <= member.patience_from:
            self._undo(reason)  # nor was any other in all that time
        else:
            self._failed_to_start(member, reason, at)

    def _check_deadline(self, member: Member, at: float) -> None:
        if member.phase is not Phase.DRAINING or member.deadline is None or at < member.deadline or member.overdue:
            return
        left = member.in_flight
        if self.rules.cut_at_deadline:
            self._note(
                f"drain deadline passed: cutting {left or 'what could not be counted'}",
                member.name,
                "warning",
            )
            member.cut = str(left or "unknown")
            self.fleet.move(member, Cause.DEADLINE_CUT, at)
            self._ask(member, at)
        else:
            member.overdue = True
            self._note(
                f"drain deadline passed: still waiting for {left or 'what could not be counted'}",
                member.name,
                "warning",
            )

    # -- what follows --------------------------------------------------------------------------------------------

    def _move_on(self, at: float) -> None:
        self._advance(at)
        before, self._moves = self._moves, self._next_moves()
        moves = self._moves
        if moves.admit and not before.admit:
            self._let_in(at)
        for name in moves.readmit:
            self._readmit(self.fleet.members[name], at)
        for name in moves.retire:
            self._retire(self.fleet.members[name], at)
        if moves.warm != before.warm:
            self._time_drains(at)
        if at >= self.course.not_before:
            old = self.course.previous or self.course.goal
            for template in [self._source()] * moves.create + [old] * moves.heal:
                self._create(template, at)
        self._weigh(at)
        self._rest()

    def _let_in(self, at: float) -> None:
        """Those that waited for others waited through no fault of their own, and need wait no longer."""
        waited = list(self.fleet.where(Phase.READY))
        for member in waited:
            member.patience_from = at
            self._ask(member, at)
        self.fleet.retime(waited)

    def _time_drains(self, at: float) -> None:
        """While instances are kept warm their deadlines do not count; when they no longer are, these begin."""
        draining = list(self.fleet.where(Phase.DRAINING))
        for member in draining:
            if self._kept(member):
                member.deadline = None
            elif member.deadline is None:
                self._give_deadline(member, at)
            self.fleet.touch(member)
        self.fleet.retime(draining)

    def _next_moves(self) -> Moves:
        moves = self._moves_of_strategy()
        return self._heal_only(moves) if self.course.paused else moves

    def _moves_of_strategy(self) -> Moves:
        course, want = self.course, self.want
        if course.status is Status.ROLLING and course.previous is not None:
            if course.strategy == "blue-green":
                return blue_green.moves(self.fleet, want, step=course.step)
            if self.step is not None:
                return canary.moves(self.fleet, want, share=self.share, weighed=self.rules.beside)
        return rolling.moves(self.fleet, want)

    def _heal_only(self, moves: Moves) -> Moves:
        """While paused nothing is begun, a switch of colours neither; what died is replaced all the same."""
        want = self.want
        short = want.size - self.fleet.count(STAYING)
        room = want.size + want.surge - self.fleet.existing
        create = max(0, min(short, room))
        begun = self.course.strategy != "blue-green" or self.fleet.count((Phase.ADMITTED,), want.goal) > 0
        return replace(moves, readmit=(), retire=(), create=create, heal=0, admit=moves.admit and begun)

    def _advance(self, at: float) -> None:
        """Leave a step that has been reached or waited out."""
        course = self.course
        if course.paused or course.status is not Status.ROLLING or course.previous is None:
            return
        if course.strategy == "blue-green":
            self._advance_colours(at)
            return
        while (step := self.step) is not None and self._is_over(step, at):
            self._note(f"step {self.course.step + 1} of {len(self.rules.steps)} done: {step}")
            self._go_to_step(self.course.step + 1, at, str(step))
            if self.course.paused:
                return

    def _is_over(self, step: Step, at: float) -> bool:
        match step.kind:
            case "share":
                return not self._unweighed and canary.arrived(
                    self.fleet, self.want, share=step.share, weighed=self.rules.beside
                )
            case "pause":
                return at >= self._step_ends
            case "analyse":
                if at >= self._step_ends:
                    self._pause(f"the analysis came to no end within {step.stay:g} s")
                return False

    def _advance_colours(self, at: float) -> None:
        course = self.course
        if course.step == 0 and blue_green.switched(self.fleet, self.want):
            self._note(f"all traffic goes to {course.goal}; {course.previous} is kept warm for {self.rules.bake:g} s")
            self._go_to_step(1, at)
        elif self._bakes() and at >= self._step_ends:
            self._go_to_step(2, at)

    def _weigh(self, at: float) -> None:
        """Give every serving instance the weight that the share of the moment asks for."""
        joined, self.fleet.joined = self.fleet.joined, []
        if not self.rules.weighed:
            return
        new = old = DEFAULT_WEIGHT
        if self.step is not None and 0 < self.share < 100:
            new, old = canary.weights(self.fleet, self.want, self.share)
        elif not self._weighing:
            return
        self._weighing = (new, old) != (DEFAULT_WEIGHT, DEFAULT_WEIGHT)
        given, self._weights = self._weights, (self.course.goal, new, old)
        for member in joined if given == self._weights else self.fleet.where(*STAYING):
            weight = new if member.template == self.course.goal else old
            if weight != member.weight:
                member.weight = weight
                self.fleet.touch(member)
                self._unweighed.add(member.name)
                if member.phase is Phase.ADMITTED:
                    self._ask(member, at)
                    self.fleet.retime([member])

    def _weight_seen(self, member: Member, event: on.WeightSeen) -> None:
        if member.weight_seen != event.weight:
            member.weight_seen = event.weight
            self.fleet.touch(member)
        if member.weight == event.weight:
            self._unweighed.discard(member.name)
        else:
            self._unweighed.add(member.name)
            self.fleet.retime([member])

    def _create(self, template: str, at: float) -> None:
        serial = self.course.serial + 1
        self.course = replace(self.course, serial=serial)
        name = f"{self.rules.tier}-{template}-{serial}"
        times = {"created": at, Phase.CREATING: at}
        member = Member(name, template, serial, times=times, patience_from=at, asked_at=at)
        self.fleet.add(member)
        self._out += [
            do.CreateInstance(name, member.template),
            do.WakeAt(at + self.rules.progress_deadline),
        ]

    def _source(self) -> str:
        """What to create from. While paused, what died is replaced from the side that is known to be good."""
        return (self.course.paused and self.course.previous) or self.course.goal

    def _retire(self, member: Member, at: float) -> None:
        if self.fleet.move(member, Cause.RETIRED, at):
            self._ask(member, at)

    def _readmit(self, member: Member, at: float) -> None:
        if self.fleet.move(member, Cause.READMITTED, at):
            member.deadline, member.overdue, member.quiet = None, False, 0
            member.patience_from = at
            self._ask(member, at)

    def _ask(self, member: Member, at: float) -> None:
        """Give, or give again, the commands whose effect the member's phase waits for."""
        match member.phase:
            case Phase.CREATING if Phase.LEAVING in member.times:
                self._out.append(do.LameDuck(member.name, on=False))
            case Phase.READY:
                if self._holds_back(member):
                    return
                self._out.append(do.Admit(member.name, member.weight))
            case Phase.ADMITTED:
                self._out.append(do.SetWeight(member.name, member.weight))
            case Phase.LEAVING:
                self._out += [do.LameDuck(member.name, on=True), do.Remove(member.name)]
            case Phase.FAILED:
                self._out.append(do.Remove(member.name))
            case Phase.DRAINED:
                self._out.append(do.Stop(member.name, kill=bool(member.cut)))
            case Phase.STOPPING:
                if at < member.since + STOP_GRACE:
                    return
                self._note(
                    f"still there {STOP_GRACE:.0f} s after its stop signal, with nothing in flight: killed",
                    member.name,
                )
                self._out.append(do.Stop(member.name, kill=True))
            case _:
                return
        member.asked_at = at

    def _rest(self) -> None:
        course = self.course
        if course.status not in (Status.ROLLING, Status.UNDOING) or self.step is not None or not self._is_done():
            return
        undone = course.status is Status.UNDOING
        before = course.before if undone else course.previous
        self.course = replace(course, status=Status.RESTING, previous=None, before=before, paused="")
        self._out.append(do.Finish("undone" if undone else "completed", course.reason))

    def _is_done(self) -> bool:
        """Whether the goal has taken every place and nothing is left of anything else.

        In a large tier something has always just failed. What served and was lost is left to healing, as it is at
        rest, while it is no more than may be missing.
        """
        fleet, goal, size = self.fleet, self.course.goal, self.rules.size
        serving, staying = fleet.count((Phase.ADMITTED,), goal), fleet.staying(goal)
        if staying > size or len(fleet.members) > staying + fleet.count((Phase.FAILED,), goal):
            return False
        return serving == size or (serving >= size - self.rules.unavailable and self.course.admissions >= size)

    def _note(self, text: str, name: str = "", level: str = "info") -> None:
        self._out.append(do.Note(text, name, "warning" if level == "warning" else "info"))
