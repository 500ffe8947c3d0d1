"""Machines that are wrong on purpose: each must be caught, or the watch is asleep.

All of them live through the same story, in which the sound machine is never complained of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

import pytest
from tests.unit.rollout.world import World

from changeover.model.instance import InFlight
from changeover.rollout import commands as do
from changeover.rollout import events as on
from changeover.rollout.invariants import Violation
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.phases import STAYING, Phase
from changeover.rollout.tier.actions import Action
from changeover.rollout.tier.decision import Decision
from changeover.rollout.tier.machine import Machine
from changeover.rollout.tier.settings import RolloutSettings, RolloutTiming
from changeover.rollout.tier.state import TierState

WAITS = RolloutSettings("web", 3, 1, 0, min_ready=1.0, progress_deadline=60, drain_deadline=3.0, cut_at_deadline=False)
CUTS = replace(WAITS, cut_at_deadline=True)
IDLE = InFlight(0, 0)

Make = Callable[[RolloutSettings, TierState, Fleet], Machine]


def story(world: World) -> None:
    """A roll to v2, then one to v3 that is aborted, under traffic; starts flicker, and the router stutters."""
    world.tell(on.Started(world.now, "v1"))
    world.settle()
    for goal in ("v2", "v3"):
        world.tell(on.Started(world.now, goal))
        aborted = goal == "v2"
        for round_ in range(80):
            for number, box in enumerate(world.boxes.values()):
                long = number % 2  # uploads of up to 12 s, beyond the drain deadline; other requests take 0.5 s
                box.requests = 0 if round_ % (24 if long else 2) == 0 else box.requests + box.reachable
                box.sick = not box.listed and round_ % 5 == 0
            world.router_silent = round_ % 7 < 2
            if not aborted and world.machine.fleet.count((Phase.DRAINING,)):
                world.tell(on.ActionRequested(world.now, Action.ABORT, reason="errors went up"))
                aborted = True
            world.go_on()
    world.settle()
    world.check_replay()


@pytest.mark.parametrize("rules", [WAITS, CUTS, replace(WAITS, surge=0, unavailable=1), replace(WAITS, surge=3)])
def test_the_sound_machine_lives_through_the_story(rules: RolloutSettings) -> None:
    world = World(rules)
    story(world)
    assert [finish.outcome for finish in world.finished] == ["completed", "completed", "undone"]


# -- the broken ones -----------------------------------------------------------------------------------------------


def misreads(**wrong: float) -> Make:
    return lambda rules, tier, fleet: Machine(replace(rules, **wrong), tier, fleet)  # type: ignore[arg-type]


def with_commands(decision: Decision, *commands: do.Command) -> Decision:
    """The decision, with other commands."""
    return decision._replace(commands=commands)


def both(first: Decision, second: Decision) -> Decision:
    """Two decisions in a row as one."""
    return Decision(
        first.commands + second.commands,
        first.moved + second.moved,
        first.touched + second.touched,
        second.state,
        first.state_changed or second.state_changed,
    )


class TakesReadyForServing(Machine):
    def handle(self, event: on.Event) -> Decision:
        decision = super().handle(event)
        for command in decision.commands:
            if isinstance(command, do.Admit) and self.tier.goal != "v1":
                confirmed = on.RouterConfirmed(event.at, command.name, admitted=True)
                decision = both(decision, super().handle(confirmed))
        return decision


class _CountsOnlyTheStaying(Fleet):
    @property
    def existing(self) -> int:
        return self.count(STAYING)


def forgets_the_draining(rules: RolloutSettings, tier: TierState, fleet: Fleet) -> Machine:
    return Machine(rules, tier, _CountsOnlyTheStaying(fleet))


class TakesSilenceForYes(Machine):
    def handle(self, event: on.Event) -> Decision:
        if isinstance(event, on.Unconfirmed):
            member = self.fleet.get(event.name)
            if member is not None and member.phase is Phase.LEAVING:
                return super().handle(on.RouterConfirmed(event.at, event.name, admitted=False))
        return super().handle(event)


class StopsWhatItAskedToRemove(Machine):
    def handle(self, event: on.Event) -> Decision:
        decision = super().handle(event)
        stops = [do.Stop(command.name) for command in decision.commands if isinstance(command, do.Remove)]
        return with_commands(decision, *decision.commands, *stops)


class DoesNotCount(Machine):
    def handle(self, event: on.Event) -> Decision:
        return super().handle(replace(event, in_flight=IDLE) if isinstance(event, on.InFlightSeen) else event)


class CountsWhatItSawBeforeTheRemoval(Machine):
    def handle(self, event: on.Event) -> Decision:
        decision = super().handle(event)
        member = self.fleet.get(getattr(event, "name", ""))
        if isinstance(event, on.RouterConfirmed) and member is not None and member.in_flight == IDLE:
            for _ in range(self.settings.timing.quiet_observations):
                decision = both(decision, super().handle(on.InFlightSeen(event.at, event.name, IDLE)))
        return decision


class DeafToUnready(Machine):
    def handle(self, event: on.Event) -> Decision:
        if isinstance(event, on.InstanceUnready):
            return Decision((), (), (), self.tier, state_changed=False)
        return super().handle(event)


class AdmitsWhatComesBackUnseen(Machine):
    def handle(self, event: on.Event) -> Decision:
        decision = super().handle(event)
        back = [c.name for c in decision.commands if isinstance(c, do.LameDuck) and not c.on]
        return with_commands(decision, *decision.commands, *map(do.Admit, back))


FLOOR = "1: serving instances never fall below"
CEILING = "2: existing instances, draining ones included, never exceed"
REMOVED_FIRST = "3: an instance is not stopped before every router has confirmed"
EMPTY_FIRST = "3: an instance is not stopped while a request is in flight"
READY_FIRST = "4: an instance gets traffic only after it was ready"

BROKEN: list[tuple[str, RolloutSettings, Make]] = [
    (FLOOR, WAITS, misreads(unavailable=3)),
    (FLOOR, WAITS, TakesReadyForServing),
    (CEILING, WAITS, misreads(surge=2)),
    (CEILING, WAITS, forgets_the_draining),
    (REMOVED_FIRST, WAITS, TakesSilenceForYes),
    (REMOVED_FIRST, WAITS, StopsWhatItAskedToRemove),
    (EMPTY_FIRST, WAITS, DoesNotCount),
    (EMPTY_FIRST, WAITS, CountsWhatItSawBeforeTheRemoval),
    (EMPTY_FIRST, WAITS, misreads(cut_at_deadline=True)),
    (EMPTY_FIRST, CUTS, misreads(drain_deadline=1.0)),
    (READY_FIRST, WAITS, misreads(min_ready=0.0)),
    (READY_FIRST, replace(WAITS, min_ready=4.0), DeafToUnready),
    (READY_FIRST, WAITS, AdmitsWhatComesBackUnseen),
]


@pytest.mark.parametrize(("sentence", "rules", "make"), BROKEN)
def test_a_broken_machine_is_caught_by_the_watch(sentence: str, rules: RolloutSettings, make: Make) -> None:
    with pytest.raises(Violation, match=f"^{sentence}"):
        story(World(rules, make))


# -- what only the world itself shows ------------------------------------------------------------------------------


class NamesByChance(Machine):
    created = 0

    def handle(self, event: on.Event) -> Decision:
        decision = super().handle(event)
        for command in decision.commands:
            if isinstance(command, do.CreateInstance):
                NamesByChance.created += 1
        return with_commands(decision, *decision.commands, do.Note(f"{NamesByChance.created} created so far"))


IN_THE_WORLD: list[tuple[str, RolloutSettings, Make]] = [
    ("3: web-.* is stopped with", replace(WAITS, timing=RolloutTiming(quiet_observations=1)), Machine),
    ("7: the same journal", WAITS, NamesByChance),
]


@pytest.mark.parametrize(("words", "rules", "make"), IN_THE_WORLD)
def test_a_broken_machine_breaks_something_in_the_world(words: str, rules: RolloutSettings, make: Make) -> None:
    with pytest.raises(Violation, match=f"^{words}"):
        story(World(rules, make))


def aborted_while_one_old_instance_is_slow_to_come_back(world: World) -> None:
    world.tell(on.Started(world.now, "v1"))
    world.settle()
    old = list(world.boxes.values())
    for box in old:
        box.requests = 1
    world.tell(on.Started(world.now, "v2"))
    while not world.machine.fleet.count((Phase.DRAINING,)):
        world.go_on()
    world.tell(on.ActionRequested(world.now, Action.ABORT, reason="errors went up"))
    old[0].sick = True
    world.go_on(10)
    old[0].sick = False
    world.settle()


def test_an_undo_waits_for_the_last_old_instance_that_can_come_back() -> None:
    aborted_while_one_old_instance_is_slow_to_come_back(World(replace(WAITS, surge=3)))


def test_an_undo_that_does_not_wait_is_caught() -> None:
    with patch.object(Fleet, "returning", lambda *_: 0), pytest.raises(Violation, match=r"^6: web-v2-\d is drained"):
        aborted_while_one_old_instance_is_slow_to_come_back(World(replace(WAITS, surge=3)))
