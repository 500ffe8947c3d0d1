"""What must never happen, over generated fleets in a generated world; `make fuzz` goes deeper than the default."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.unit.rollout.world import Box, Health, World

from changeover.model.update import Strategy
from changeover.rollout import events as on
from changeover.rollout.members.phases import EXISTING, Phase
from changeover.rollout.tier.actions import Action
from changeover.rollout.tier.settings import CanaryStep, RolloutSettings

WHICH = st.integers(0, 11)
"""Picks an instance, whoever is there."""


STRATEGIES: list[Strategy] = ["rolling", "rolling", "canary", "blue-green"]
STEPS = (
    CanaryStep("share", 10),
    CanaryStep("pause", stay=5.0),
    CanaryStep("share", 50),
    CanaryStep("pause"),
    CanaryStep("analyse", stay=20.0),
)
TEMPLATES = st.sampled_from(["v1", "v2", "v3"])


class OneTier(RuleBasedStateMachine):
    """A tier that is rolled, aborted, broken and looked after in any order. Each step is watched."""

    world: World

    @initialize(
        size=st.integers(1, 6),
        surge=st.integers(0, 3),
        unavailable=st.integers(0, 2),
        min_ready=st.sampled_from([0.0, 1.0, 5.0]),
        drain_deadline=st.sampled_from([3.0, 600.0]),
        cut=st.booleans(),
        running=st.booleans(),
        strategy=st.sampled_from(STRATEGIES),
        by_load=st.booleans(),
        weighed=st.booleans(),
        hold=st.booleans(),
        fresh=st.booleans(),
        asks=st.booleans(),
    )
    def begin(
        self,
        size: int,
        surge: int,
        unavailable: int,
        min_ready: float,
        drain_deadline: float,
        cut: bool,
        running: bool,
        strategy: Strategy,
        by_load: bool,
        weighed: bool,
        hold: bool,
        fresh: bool,
        asks: bool,
    ) -> None:
        surge = surge or int(unavailable == 0)
        rules = RolloutSettings("web", size, surge, min(size, unavailable), min_ready, 30.0, drain_deadline, cut)
        rules = replace(rules, strategy=strategy, steps=STEPS, bake=5.0, by_load=by_load, weighed=weighed, hold=hold)
        rules = replace(rules, fresh_baseline=fresh, long_lived_asked_after=1.0 if asks else 0.0)
        self.world = World(rules)
        self.world.tell(on.Started(0, "v1"))
        if running:
            self.world.settle()

    # -- the controller ------------------------------------------------------------------------------------------

    @rule(rounds=st.integers(1, 10))
    def goes_on(self, rounds: int) -> None:
        self.world.go_on(rounds)

    @rule()
    def commands_are_performed(self) -> None:
        self.world.perform()

    @rule(which=WHICH)
    def a_command_is_performed(self, which: int) -> None:
        self.world.perform_one(which)

    @rule(which=WHICH)
    def a_command_is_lost(self, which: int) -> None:
        self.world.perform_one(which, lost=True)

    @rule()
    def it_looks(self) -> None:
        self.world.look()

    @rule(seconds=st.sampled_from([0.01, 2.0, 10.0, 45.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.wait(seconds)

    @rule(seconds=st.sampled_from([0.1, 60.0]))
    def the_controller_is_killed_and_another_takes_over(self, seconds: float) -> None:
        self.world.kill_controller(seconds)

    # -- what people want ----------------------------------------------------------------------------------------

    @rule(template=TEMPLATES)
    def a_goal_is_given(self, template: str) -> None:
        self.world.tell(on.Started(self.world.now, template))

    @rule(action=st.sampled_from([action for action in Action if action is not Action.ROLL]))
    def something_is_asked_for(self, action: Action) -> None:
        self.world.tell(on.ActionRequested(self.world.now, action, reason="changed my mind"))

    @rule(data=st.data())
    def a_drain_is_to_end_now(self, data: st.DataObject) -> None:
        if names := sorted(member.name for member in self.world.machine.fleet):
            self.world.tell(on.DrainEndRequested(self.world.now, data.draw(st.sampled_from(names))))

    @rule(verdict=st.sampled_from(["passed", "failed", "inconclusive"]))
    def the_guard_has_seen_enough(self, verdict: Literal["passed", "failed", "inconclusive"]) -> None:
        self.world.tell(on.GuardJudged(self.world.now, verdict, "numbers"))

    # -- traffic -------------------------------------------------------------------------------------------------

    @rule(which=WHICH)
    def a_request_begins(self, which: int) -> None:
        for box in self._pick(which, lambda box: box.reachable):
            box.requests += 1

    @rule()
    def a_request_begins_everywhere(self) -> None:
        for box in self.world.boxes.values():
            box.requests += box.reachable

    @rule(which=WHICH)
    def a_request_ends(self, which: int) -> None:
        for box in self._pick(which, lambda box: box.requests > 0):
            box.requests -= 1

    @rule()
    def all_requests_end(self) -> None:
        for box in self.world.boxes.values():
            box.requests = 0

    # -- what breaks ---------------------------------------------------------------------------------------------

    @rule(which=WHICH)
    def an_instance_dies(self, which: int) -> None:
        for box in self._pick(which, lambda box: box.alive):
            self.world.die(box)

    @rule(which=WHICH)
    def an_instance_hangs_while_it_starts(self, which: int) -> None:
        for box in self._pick(which, lambda box: not box.up):
            box.hung = True

    @rule(which=WHICH)
    def an_instance_is_unwell_or_well_again(self, which: int) -> None:
        for box in self._pick(which, lambda box: box.up):
            box.sick = not box.sick

    @rule(which=WHICH)
    def an_instance_will_not_end_when_told(self, which: int) -> None:
        for box in self._pick(which, lambda box: box.alive):
            box.stubborn = True

    @rule(
        template=st.sampled_from(["v1", "v2", "v3"]), health=st.sampled_from(["sound", "refused", "crashes", "hangs"])
    )
    def a_template_is_good_or_bad(self, template: str, health: Health) -> None:
        self.world.health[template] = health

    @rule(silent=st.booleans())
    def the_router_falls_silent_or_speaks(self, silent: bool) -> None:
        self.world.router_silent = silent

    @rule(silent=st.booleans())
    def nothing_can_be_counted_or_it_can(self, silent: bool) -> None:
        self.world.hop_silent = silent

    def _pick(self, which: int, fit: Callable[[Box], bool]) -> list[Box]:
        fitting = [box for box in self.world.boxes.values() if fit(box)]
        return [fitting[which % len(fitting)]] if fitting else []

    # -- what must hold after every step -------------------------------------------------------------------------

    @invariant()
    def the_counts_are_those_of_the_members(self) -> None:
        fleet = self.world.machine.fleet
        members = list(fleet)
        assert fleet.existing == sum(m.phase in EXISTING for m in members)
        assert fleet.serving == sum(m.phase is Phase.ADMITTED for m in members)
        admitted = sorted((m.serial, m.name) for m in members if m.phase is Phase.ADMITTED)
        assert [m.name for m in fleet.first(len(members))] == [name for _, name in admitted]
        by_load = sorted((m.load, m.serial) for m in members if m.phase is Phase.ADMITTED)
        assert [(m.load, m.serial) for m in fleet.first(len(members), by_load=True)] == by_load

    @invariant()
    def actions_that_are_remembered_are_those_of_the_moment(self) -> None:
        machine = self.world.machine
        remembered = machine._next_actions(machine.tier)
        machine._actions = None
        assert machine._next_actions(machine.tier) == remembered

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.settle()
            self.world.check_replay()


TestOneTier = OneTier.TestCase
TestOneTier.settings = settings()
