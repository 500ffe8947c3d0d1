"""Where a tier is going: what was asked for, which step it is at, when it turns round and when it has arrived."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from changeover.model.chain import Strategy
from changeover.rollout import commands as do
from changeover.rollout import events as on
from changeover.rollout.members.phases import Phase
from changeover.rollout.strategies import blue_green, canary
from changeover.rollout.tier.actions import ANSWERS, Action, State
from changeover.rollout.tier.context import TierContext
from changeover.rollout.tier.state import Status, Step


class Heading:
    """Changes the course, and nothing else."""

    def __init__(self, here: TierContext) -> None:
        self._here = here

    @property
    def state(self) -> State:
        """The tier as somebody who asks for something finds it."""
        if self._here.course.status is Status.ROLLING:
            if self._here.stopped:
                return State.PAUSED
            return State.HOLDING if self._here.holds else State.ROLLING
        return State(self._here.course.status.value)

    # -- what was asked -----------------------------------------------------------------------------------------------

    def start(self, event: on.Started) -> None:
        """Move the tier to a template."""
        if event.goal == self._here.course.goal and self._here.course.status in (Status.ROLLING, Status.UNDOING):
            return
        # The way back leads to the last template that was whole, never to one that was still on its way in.
        match self._here.course.status:
            case Status.ROLLING:
                came_from = self._here.course.previous
            case Status.FAILED:
                came_from = None
            case _:
                came_from = self._here.course.goal if self._here.course.serial else None
        self._here.course = replace(
            self._here.course,
            goal=event.goal,
            previous=came_from,
            status=Status.ROLLING,
            reason="",
            failures=0,
            deaths=0,
            admissions=self._here.fleet.count((Phase.ADMITTED,), event.goal),
            not_before=event.at,
            before_first=self._here.course.serial,
            strategy=self._strategy(came_from, event),
            asked=False,
            promoted=False,
            asking="",
            paused="",
        )
        self._go_to_step(0, event.at)

    def _strategy(self, came_from: str | None, event: on.Started) -> Strategy:
        """The one that was asked for, where it is possible."""
        if came_from in (None, event.goal):
            return "rolling"  # with nothing to compare with or to switch from there are no steps to take
        wanted = event.strategy or self._here.rules.strategy
        if wanted == "blue-green" and any(
            member.template not in (came_from, event.goal) for member in self._here.fleet
        ):
            self._here.note(
                "instances of a third template are there, so this is no switch between two colours: rolling"
            )
            return "rolling"
        return wanted

    def answer(self, event: on.Asked) -> None:
        """Do what somebody asks for, or say why not."""
        answer = ANSWERS[self.state, event.action]
        if not answer.done:
            self._here.say(do.Refuse(answer.says))
            return
        course = self._here.course
        match event.action:
            case Action.PAUSE:
                self._pause(event.why or f"{event.who} asked")
            case Action.RESUME:
                self._here.course = replace(course, paused="", step_at=event.at)
                self._wake_for_step()
            case Action.PROMOTE if self._here.waits_to_switch:
                self._here.course = replace(course, asking="", paused="", promoted=True)
            case Action.PROMOTE | Action.PROMOTE_FULL if not (
                self._here.step or self._here.bakes or self._here.waits_to_switch
            ):
                self._here.say(do.Refuse("there is no step to promote: it goes on by itself"))
            case Action.PROMOTE:
                self._here.course = replace(course, asking="", paused="")
                self._go_to_step(course.step + 1, event.at, str(self._here.step or ""))
            case Action.PROMOTE_FULL:
                self._here.course = replace(course, asking="", paused="")
                self._go_to_step(max(2, len(self._here.rules.steps)), event.at)
            case Action.ABORT | Action.UNDO if course.status is Status.ROLLING:
                self.undo(event.why or f"{event.who} asked to {event.action}")
            case Action.UNDO if course.before is not None:
                self.start(on.Started(event.at, course.before, "rolling"))
            case Action.RETRY if course.status is Status.FAILED:
                self.start(on.Started(event.at, course.goal))
            case Action.RETRY if course.tried is not None:
                self.start(on.Started(event.at, course.tried))
            case _:
                self._here.say(do.Refuse("there is no earlier rollout to go by"))
        if not any(isinstance(said, do.Note | do.Refuse | do.Finish) for said in self._here.out):
            self._here.note(f"{event.action}, asked by {event.who}: {answer.says}")

    def _pause(self, why: str) -> None:
        draining = self._here.fleet.count((Phase.LEAVING, Phase.DRAINING))
        goes_on = f"; {draining} drains under way go on to their end" if draining else ""
        self._here.note(f"paused: {why}{goes_on}", level="warning")
        self._here.course = replace(self._here.course, paused=self._here.course.paused or why)

    def heed(self, event: on.GuardSaid) -> None:
        """Take in what the guard makes of it."""
        if self._here.course.status is not Status.ROLLING:
            return
        match event.verdict:
            case "failed":
                self.undo(f"guard: {event.reason}")
            case "inconclusive" if not self._here.course.paused:
                self._pause(f"guard: {event.reason}")
            case "passed" if (step := self._here.step) is not None and step.kind == "analyse":
                self._here.note(f"analysis passed: {event.reason}")
                self._go_to_step(self._here.course.step + 1, event.at, str(step))

    def undo(self, reason: str) -> None:
        """Turn round, if there is somewhere to go back to."""
        if self._here.course.status is not Status.ROLLING:
            return
        back = self._here.course.previous
        self._here.course = replace(self._here.course, asking="", paused="")
        if back is None:
            self._here.course = replace(self._here.course, status=Status.FAILED, reason=reason)
            self._here.say(do.Finish("failed", reason))
            return
        if back == self._here.course.goal:  # nowhere else to go: what is missing is healed, as ever
            self._here.course = replace(self._here.course, previous=None, status=Status.RESTING)
            self._here.say(do.Finish("failed", reason))
            return
        self._here.note(f"going back from {self._here.course.goal} to {back}: {reason}", level="warning")
        self._here.course = replace(
            self._here.course,
            goal=back,
            previous=None,
            status=Status.UNDOING,
            reason=reason,
            failures=0,
            admissions=self._here.fleet.count((Phase.ADMITTED,), back),
            tried=self._here.course.goal,
        )

    # -- step by step -------------------------------------------------------------------------------------------------

    def _go_to_step(self, number: int, at: float, done: str = "") -> None:
        """Say which step is next, and wait for leave to take it where somebody is to be asked."""
        self._here.course = replace(self._here.course, step=number, step_at=at)
        if self._here.step is not None or done:
            self._announce(str(self._here.step or ""), done)
        self._wake_for_step()

    def _announce(self, step: str, done: str = "") -> None:
        self._here.say(do.StepReached(step, done))
        if self._here.rules.ask_first:
            self._here.course = replace(self._here.course, asking=step, after=done)

    @property
    def asking(self) -> do.StepReached | None:
        """The step that somebody is being asked to allow."""
        course = self._here.course
        return do.StepReached(course.asking, course.after) if course.asking else None

    def allow(self, event: on.Allowed) -> None:
        """Take in what those say who were asked."""
        if not self._here.course.asking:
            return  # it was promoted or turned round meanwhile
        self._here.course = replace(self._here.course, asking="", step_at=event.at)
        if event.against:
            self._pause(event.against)
        self._wake_for_step()

    def _wake_for_step(self) -> None:
        if (ends := self._here.step_ends) < inf:
            self._here.say(do.WakeAt(ends))

    def advance(self, at: float, *, weighed: bool) -> None:
        """Leave a step that has been reached or waited out. `weighed`: every weight that was given has been seen."""
        course = self._here.course
        if self._here.stopped or course.status is not Status.ROLLING or course.previous is None:
            return
        if course.strategy == "blue-green":
            self._advance_colours(at)
            return
        while (step := self._here.step) is not None and self._is_over(step, at, weighed):
            self._here.note(f"step {self._here.course.step + 1} of {len(self._here.rules.steps)} done: {step}")
            self._go_to_step(self._here.course.step + 1, at, str(step))
            if self._here.course.asking:
                return

    def _is_over(self, step: Step, at: float, weighed: bool) -> bool:
        match step.kind:
            case "share":
                return weighed and canary.arrived(
                    self._here.fleet,
                    self._here.want,
                    share=step.share,
                    weighed=self._here.rules.beside,
                    fresh=self._here.fresh,
                )
            case "pause":
                return at >= self._here.step_ends
            case "analyse":
                if at >= self._here.step_ends:
                    self._pause(f"the analysis came to no end within {step.stay:g} s")
                return False

    def _advance_colours(self, at: float) -> None:
        course, fleet, want = self._here.course, self._here.fleet, self._here.want
        if course.step == 0 and not course.asked and blue_green.complete(fleet, want):
            self._here.course = replace(course, asked=True)
            if self._here.holds_switch:
                self._here.note(f"{course.goal} is complete beside {course.previous}; the switch waits for `promote`")
            self._announce(f"switch to {course.goal}")
        elif course.step == 0 and blue_green.switched(fleet, want):
            self._here.note(
                f"all traffic goes to {course.goal}; {course.previous} is kept warm for {self._here.rules.bake:g} s"
            )
            self._go_to_step(1, at, f"switch to {course.goal}")
        elif self._here.bakes and at >= self._here.step_ends:
            self._go_to_step(2, at)

    # -- arriving -----------------------------------------------------------------------------------------------------

    def rest(self) -> None:
        """Come to rest when the goal is reached."""
        course = self._here.course
        if course.status not in (Status.ROLLING, Status.UNDOING) or self._here.step is not None or not self._is_done():
            return
        undone = course.status is Status.UNDOING
        before = course.before if undone else course.previous
        self._here.course = replace(course, status=Status.RESTING, previous=None, before=before, paused="")
        self._here.say(do.Finish("undone" if undone else "completed", course.reason))

    def _is_done(self) -> bool:
        """Whether the goal has taken every place and nothing is left of anything else.

        In a large tier something has always just failed. What served and was lost is left to healing, as it is at
        rest, while it is no more than may be missing.
        """
        fleet, goal, size = self._here.fleet, self._here.course.goal, self._here.rules.size
        serving, staying = fleet.count((Phase.ADMITTED,), goal), fleet.staying(goal)
        if staying > size or len(fleet.members) > staying + fleet.count((Phase.FAILED,), goal):
            return False
        return serving == size or (
            serving >= size - self._here.rules.unavailable and self._here.course.admissions >= size
        )
