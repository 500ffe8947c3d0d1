"""The rollout of one tier as a state machine: `handle(event)` returns the commands that follow from it.

Rule 1: nothing but `handle` changes the state, and only through the phase table.
Rule 2: the same events give the same commands. Time comes with the events; names come from a counter.

Its parts share one `situation`: `heading` says where the tier goes, `instances` what becomes of each, `weights` what
share of the traffic they get. Here they are joined with the strategies.

A tier at rest is the same machine with nothing to replace: that is how a dead instance is healed.
"""

from __future__ import annotations

from dataclasses import replace

from changeover.rollout import commands as do
from changeover.rollout import events as on
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.instances import Instances
from changeover.rollout.members.phases import STAYING, Phase
from changeover.rollout.members.weights import Weights
from changeover.rollout.strategies import blue_green, canary, rolling
from changeover.rollout.strategies.next_actions import NextActions
from changeover.rollout.tier.actions import State
from changeover.rollout.tier.context import TierContext
from changeover.rollout.tier.state import Course, RolloutSettings, Status, Step
from changeover.rollout.tier.transitions import Heading


class Machine:
    """One tier. `fleet` and `course` are all the state there is; both are written to the journal after every step."""

    def __init__(self, rules: RolloutSettings, course: Course, fleet: Fleet) -> None:
        self._here = TierContext(rules, course, fleet)
        self._heading = Heading(self._here)
        self._instances = Instances(self._here, self._heading)
        self._weights = Weights(self._here, self._instances)
        self._here.moves = self._next_moves()

    @property
    def rules(self) -> RolloutSettings:
        return self._here.rules

    @property
    def course(self) -> Course:
        return self._here.course

    @property
    def fleet(self) -> Fleet:
        return self._here.fleet

    @property
    def step(self) -> Step | None:
        """The canary step it is at, if it is at one."""
        return self._here.step

    @property
    def state(self) -> State:
        """The tier as somebody who asks for something finds it."""
        return self._heading.state

    @property
    def asking(self) -> do.StepReached | None:
        """The step that somebody is being asked to allow."""
        return self._heading.asking

    @property
    def held_back(self) -> list[str]:
        """Instances that are ready and wait for the switch to their colour: whom a preview shows."""
        return [member.name for member in self.fleet.where(Phase.READY) if self._instances.holds_back(member)]

    def handle(self, event: on.Event) -> list[do.Command]:
        """Take in one event and say what follows from it."""
        self._here.out = []
        match event:
            case on.Started():
                self._heading.start(event)
            case on.Asked():
                self._heading.answer(event)
            case on.Allowed():
                self._heading.allow(event)
            case on.GuardSaid():
                self._heading.heed(event)
            case on.Tick():
                self._instances.tick(event.at)
            case _:
                self._see(event)
        if self.course.status is not Status.FAILED:
            self._move_on(event.at)
        return self._here.out

    def _see(self, event: on.Event) -> None:
        member = self.fleet.get(getattr(event, "name", ""))
        if member is None:
            return
        if isinstance(event, on.WeightSeen):
            self._weights.see(member, event)
        else:
            self._instances.see(member, event)
        if member.phase is Phase.GONE:
            self._weights.forget(member)

    def _move_on(self, at: float) -> None:
        self._heading.advance(at, weighed=self._weights.seen)
        before = self._here.moves
        moves = self._here.moves = self._next_moves()
        if moves.admit and not before.admit:
            self._instances.let_in(at)
        for name in moves.readmit:
            self._instances.readmit(self.fleet.members[name], at)
        for name in moves.retire:
            self._instances.retire(self.fleet.members[name], at)
        if moves.warm != before.warm:
            self._instances.time_drains(at)
        if at >= self.course.not_before:
            old = self.course.previous or self.course.goal
            for template in [self._source()] * moves.create + [old] * moves.heal:
                self._instances.create(template, at)
        self._weights.give(at)
        self._heading.rest()

    def _source(self) -> str:
        """What to create from. While paused, what died is replaced from the side that is known to be good."""
        return (self._here.stopped and self.course.previous) or self.course.goal

    def _next_moves(self) -> NextActions:
        moves = self._moves_of_strategy()
        return self._heal_only(moves) if self._here.stopped else moves

    def _moves_of_strategy(self) -> NextActions:
        course, want = self.course, self._here.want
        if course.status is Status.ROLLING and course.previous is not None:
            if course.strategy == "blue-green":
                return blue_green.moves(self.fleet, want, step=course.step, hold=self._here.holds_switch)
            if self.step is not None:
                share, fresh = self._here.share, self._here.fresh
                return canary.moves(self.fleet, want, share=share, weighed=self.rules.beside, fresh=fresh)
        return rolling.moves(self.fleet, want)

    def _heal_only(self, moves: NextActions) -> NextActions:
        """While paused nothing is begun, a switch of colours neither; what died is replaced all the same."""
        want = self._here.want
        if self.course.strategy == "blue-green" and not blue_green.begun(self.fleet, want):
            return replace(moves, create=0, admit=False)
        short = want.size - self.fleet.count(STAYING)
        room = want.size + want.surge - self.fleet.existing
        create = max(0, min(short, room))
        return replace(moves, readmit=(), retire=(), create=create, heal=0)
