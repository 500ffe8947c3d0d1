"""What all parts of the machine look at and change: rules, course, fleet, and what follows from the event at hand."""

from __future__ import annotations

from math import inf
from typing import Literal

from changeover.rollout import commands as do
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.phases import STAYING
from changeover.rollout.strategies import blue_green
from changeover.rollout.strategies.next_actions import NextActions, Target
from changeover.rollout.tier.state import Course, RolloutSettings, Status, Step


class TierContext:
    """One tier as it stands. Decides nothing."""

    def __init__(self, rules: RolloutSettings, course: Course, fleet: Fleet) -> None:
        self.rules = rules
        self.course = course
        self.fleet = fleet
        self.moves = NextActions()
        """What the strategy said last."""
        self.out: list[do.Command] = []
        """The commands that follow from the event at hand."""

    def say(self, *commands: do.Command) -> None:
        """Have something done."""
        self.out += commands

    def note(self, text: str, name: str = "", level: Literal["info", "warning"] = "info") -> None:
        """Have somebody read something."""
        self.say(do.Note(text, name, level))

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
    def want(self) -> Target:
        """What strategies are asked with."""
        rules = self.rules
        return Target(self.course.goal, rules.size, rules.surge, rules.unavailable, rules.by_load)

    @property
    def fresh(self) -> int | None:
        """How many instances of the old template that were created for this rollout stay; None: none are wanted."""
        if not self.rules.fresh_baseline:
            return None
        course, old = self.course, f"{self.rules.tier}-{self.course.previous}"
        created = (self.fleet.get(f"{old}-{n}") for n in range(course.before_first + 1, course.serial + 1))
        return sum(member is not None and member.phase in STAYING for member in created)

    @property
    def stopped(self) -> bool:
        """Nothing new is begun: it is paused, or leave to take a step is waited for."""
        return bool(self.course.paused or self.course.asking)

    @property
    def holds(self) -> bool:
        """It waits for somebody to promote it."""
        if (step := self.step) is not None:
            return step.kind == "pause" and step.stay is None
        return self.holds_switch and blue_green.complete(self.fleet, self.want)

    @property
    def holds_switch(self) -> bool:
        """There is to be no switch of colours before somebody promotes it."""
        return self._before_switch and self.rules.hold and not self.course.promoted

    @property
    def waits_to_switch(self) -> bool:
        """The new colour waits for somebody: to promote the switch, or to resume what was paused before it."""
        return self._before_switch and (self.stopped or self.holds)

    @property
    def _before_switch(self) -> bool:
        return self.course.strategy == "blue-green" and self.course.step == 0

    @property
    def bakes(self) -> bool:
        """All traffic goes to the new colour, and the old one is kept warm."""
        return self.course.strategy == "blue-green" and self.course.step == 1

    @property
    def step_ends(self) -> float:
        """When time alone brings what it waits for where it is."""
        if self.bakes:
            return self.course.step_at + self.rules.bake
        step = self.step
        return inf if step is None or step.stay is None else self.course.step_at + step.stay
