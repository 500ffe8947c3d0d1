"""A canary from step to step, its guard, its hooks: events in, commands out. Times are seconds."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.rollout.playbook import (
    A,
    B,
    C,
    D,
    Said,
    leaving,
    script,
)

from changeover.rollout.commands import (
    Admit,
    CreateInstance,
    Finish,
    Remove,
    SetWeight,
    StepReached,
    WakeAt,
)
from changeover.rollout.events import (
    ActionRequested,
    GuardJudged,
    InstanceGone,
    InstanceReady,
    RouterConfirmed,
    Started,
    StepAllowed,
    Tick,
    TrafficSeen,
    WeightSeen,
)
from changeover.rollout.tier.actions import Action, TierStatus
from changeover.rollout.tier.machine import Machine
from changeover.rollout.tier.settings import CanaryStep

HALF = (CanaryStep("share", 50), CanaryStep("pause"))


def test_an_old_instance_that_dies_beside_a_canary_is_replaced_by_one_of_its_own() -> None:
    with script(size=2, surge=1, strategy="canary", steps=HALF, weighed=True) as s:
        s.event(Started(0, "v2")).expect(
            StepReached("set weight 50 %", ""), CreateInstance(C, "v2"), SetWeight(A, 128), SetWeight(B, 128)
        )
        s.event(InstanceGone(1, A)).expect(Said("died while admitted", A), Remove(A), CreateInstance("web-v1-4", "v1"))


def test_a_canary_without_room_beside_the_old_instances_takes_the_place_of_some() -> None:
    with script(size=2, surge=0, unavailable=1, strategy="canary", steps=HALF, weighed=True) as s:
        s.event(Started(0, "v2")).expect(StepReached("set weight 50 %", ""), *leaving(A), SetWeight(B, 256))
        s.leave(A, at=1).expect(CreateInstance(C, "v2"))


def test_all_of_the_traffic_is_rolled_to_for_there_is_no_room_beside_all_old_instances() -> None:
    with script(
        size=2, surge=1, strategy="canary", steps=(CanaryStep("share", 100), CanaryStep("pause")), weighed=True
    ) as s:
        s.event(Started(0, "v2")).expect(StepReached("set weight 100 %", ""), CreateInstance(C, "v2"))
        s.serve(C, at=1).expect(*leaving(A))
        s.leave(A, at=3).expect(CreateInstance(D, "v2"))
        s.serve(D, at=4).expect(*leaving(B))
        s.leave(B, at=6).expect(Said("step 1 of 2 done"), StepReached("pause until promoted", "set weight 100 %"))


def test_a_fresh_baseline_comes_with_the_canary_and_takes_the_place_of_the_oldest() -> None:
    with script(
        size=2, surge=1, strategy="canary", steps=(CanaryStep("share", 50), CanaryStep("pause")), fresh=True
    ) as s:
        young = "web-v1-4"
        s.event(Started(0, "v2")).expect(StepReached("set weight 50 %", ""), CreateInstance(C, "v2"))
        s.serve(C, at=1).expect(*leaving(A))
        s.leave(A, at=3).expect(CreateInstance(young, "v1"))
        s.serve(young, at=4).expect(*leaving(B))
        s.leave(B, at=6).expect(Said("step 1 of 2 done"), StepReached("pause until promoted", "set weight 50 %"))
        assert s.phases() == {C: "admitted", young: "admitted"}
        s.event(ActionRequested(7, Action.PROMOTE)).expect(
            StepReached("", "pause until promoted"), Said("promote, requested by"), CreateInstance("web-v2-5", "v2")
        )


def test_a_fresh_baseline_beside_a_weighed_canary_that_took_all_the_room_waits_for_the_oldest_to_leave() -> None:
    with script(size=2, surge=1, strategy="canary", steps=HALF, weighed=True, fresh=True) as s:
        s.event(Started(0, "v2")).expect(
            StepReached("set weight 50 %", ""), CreateInstance(C, "v2"), SetWeight(A, 128), SetWeight(B, 128)
        )
        s.event(WeightSeen(0, A, 128))
        s.event(WeightSeen(0, B, 128))
        s.event(InstanceReady(1, C))
        s.event(Tick(2)).expect(Admit(C, 256))
        s.event(RouterConfirmed(2, C, admitted=True)).expect(*leaving(A), SetWeight(B, 256))
        s.event(WeightSeen(2, B, 256))
        s.leave(A, at=3).expect(CreateInstance("web-v1-4", "v1"), SetWeight(B, 128))


def test_a_time_to_wait_in_a_step_asks_to_be_woken_however_the_step_was_come_to() -> None:
    steps = (
        CanaryStep("pause", stay=30),
        CanaryStep("pause"),
        CanaryStep("pause", stay=40),
        CanaryStep("analyse", stay=50),
        CanaryStep("pause", stay=60),
    )
    says = tuple(map(str, steps))
    with script(strategy="canary", steps=steps) as s:
        s.event(Started(0, "v2")).expect(StepReached(says[0], ""), WakeAt(30))
        s.event(ActionRequested(10, Action.PAUSE)).expect(Said("paused"))
        s.event(ActionRequested(20, Action.RESUME)).expect(WakeAt(50), Said("resume, requested by an operator"))
        s.event(Tick(50)).expect(Said("step 1 of 5 done"), StepReached(says[1], says[0]))
        s.event(ActionRequested(60, Action.PROMOTE)).expect(
            StepReached(says[2], says[1]), WakeAt(100), Said("promote, requested by an operator")
        )
        s.event(Tick(100)).expect(Said("step 3 of 5 done"), StepReached(says[3], says[2]), WakeAt(150))
        s.event(GuardJudged(140, "passed", "numbers")).expect(
            Said("analysis passed"), StepReached(says[4], says[3]), WakeAt(200)
        )


def test_a_weight_that_was_not_seen_is_given_again() -> None:
    with script(size=2, strategy="canary", steps=HALF, weighed=True) as s:
        s.event(Started(0, "v2")).expect(
            StepReached("set weight 50 %", ""), CreateInstance(C, "v2"), SetWeight(A, 128), SetWeight(B, 128)
        )
        s.event(WeightSeen(0.5, A, 128))
        s.event(Tick(1.9))
        s.event(Tick(2)).expect(SetWeight(B, 128))
        s.event(WeightSeen(3, B, 128))
        s.event(Tick(5))
        s.event(WeightSeen(8, B, 100))  # the router was started again, and knows nothing
        s.event(Tick(9)).expect(SetWeight(B, 128))


def test_the_end_of_the_last_step_is_announced() -> None:
    with script(size=1, strategy="canary", steps=(CanaryStep("pause", stay=30),)) as s:
        s.event(Started(0, "v2")).expect(StepReached("pause 30 s", ""))
        s.event(Tick(30)).expect(
            Said("step 1 of 1 done"), StepReached("", "pause 30 s"), CreateInstance("web-v2-2", "v2")
        )


def test_there_are_no_steps_to_the_template_that_runs_already() -> None:
    with script(strategy="canary", steps=HALF) as s:
        s.event(Started(0, "v1")).expect(Finish("completed"))


ANALYSIS = (CanaryStep("analyse", stay=60), CanaryStep("pause"))


def test_a_guard_that_passes_while_the_analysing_step_is_paused_does_not_end_the_step() -> None:
    with script(strategy="canary", steps=ANALYSIS) as s:
        s.event(Started(0, "v2")).expect(StepReached("analyse 60 s", ""))
        s.event(ActionRequested(10, Action.PAUSE, reason="lunch")).expect(Said("paused: lunch"))
        s.event(GuardJudged(20, "passed", "numbers"))
        assert s.machine.tier.paused == "lunch"
        s.event(ActionRequested(30, Action.RESUME)).expect(Said("resume, requested by an operator"))
        s.event(Tick(31))
        assert s.machine.step == ANALYSIS[0]
        s.event(GuardJudged(40, "passed", "numbers")).expect(
            Said("analysis passed: numbers"), StepReached("pause until promoted", "analyse 60 s")
        )


def test_a_guard_that_passes_while_the_hooks_are_asked_does_not_end_the_step() -> None:
    with script(strategy="canary", steps=ANALYSIS, ask_first=True) as s:
        s.event(Started(0, "v2")).expect(StepReached("analyse 60 s", ""))
        s.event(GuardJudged(5, "passed", "numbers"))
        s.event(StepAllowed(6))
        assert (s.status, s.machine.step) == ("rolling", ANALYSIS[0])


def test_a_guard_that_passes_ends_no_other_kind_of_step() -> None:
    with script(strategy="canary", steps=(CanaryStep("pause", stay=60),)) as s:
        s.event(Started(0, "v2")).expect(StepReached("pause 60 s", ""))
        s.event(GuardJudged(5, "passed", "numbers"))
        assert s.machine.step is not None


def test_a_guard_that_fails_undoes_a_paused_rollout_and_one_without_a_verdict_pauses_it_once() -> None:
    with script(strategy="canary", steps=ANALYSIS) as s:
        s.event(Started(0, "v2")).expect(StepReached("analyse 60 s", ""))
        s.event(GuardJudged(5, "inconclusive", "no data")).expect(Said("paused: guard: no data"))
        s.event(GuardJudged(6, "inconclusive", "no data"))
        s.event(GuardJudged(7, "failed", "errors")).expect(
            Said("going back from v2 to v1: guard: errors"), Finish("undone", "guard: errors")
        )


def test_an_analysis_that_comes_to_no_end_pauses_the_rollout() -> None:
    with script(strategy="canary", steps=ANALYSIS) as s:
        s.event(Started(0, "v2")).expect(StepReached("analyse 60 s", ""))
        s.event(Tick(60)).expect(Said("paused: the analysis came to no end within 60 s"))


def test_a_guard_has_no_say_over_a_tier_at_rest() -> None:
    with script() as s:
        s.event(GuardJudged(5, "failed", "errors"))
        assert s.status == "resting"


def test_an_edit_of_the_chain_file_that_removes_the_step_a_canary_holds_at_lets_it_go_on() -> None:
    with script(size=1, strategy="canary", steps=(CanaryStep("pause"),)) as s:
        s.event(Started(0, "v2")).expect(StepReached("pause until promoted", ""))
        settings = replace(s.machine.settings, steps=())
        assert Machine(settings, s.machine.tier, s.machine.fleet).status is TierStatus.ROLLING


NEEDS = (CanaryStep("analyse", stay=60), CanaryStep("pause", stay=30), CanaryStep("pause"))
WHY = "no request reached web-v2-3 in this step"


def test_an_analysis_without_a_request_to_the_new_instances_never_passes() -> None:
    with script(size=2, strategy="canary", steps=NEEDS, needs_traffic=True) as s:
        s.event(Started(0, "v2")).expect(StepReached("analyse 60 s", ""))
        s.event(GuardJudged(10, "passed", "numbers"))
        s.event(TrafficSeen(11, WHY))
        s.event(GuardJudged(20, "passed", "numbers"))
        s.event(Tick(60)).expect(Said(f"paused: the analysis came to no end within 60 s: {WHY}"))


def test_an_analysis_passes_once_a_request_has_reached_the_new_instances() -> None:
    with script(size=2, strategy="canary", steps=NEEDS, needs_traffic=True) as s:
        s.event(Started(0, "v2")).expect(StepReached("analyse 60 s", ""))
        s.event(TrafficSeen(11, WHY))
        s.event(TrafficSeen(12))
        s.event(GuardJudged(20, "passed", "numbers")).expect(
            Said("analysis passed: numbers"), StepReached("pause 30 s", "analyse 60 s")
        )


def test_the_traffic_of_one_step_says_nothing_of_the_next_one() -> None:
    with script(size=2, strategy="canary", steps=NEEDS[1:], needs_traffic=True) as s:
        s.event(Started(0, "v2")).expect(StepReached("pause 30 s", ""))
        s.event(Tick(30)).expect(Said("paused: step pause 30 s proves nothing: nothing is known yet of requests"))
        s.event(ActionRequested(40, Action.RESUME)).expect(Said("resume, requested by an operator"))
        s.event(TrafficSeen(41))
        s.event(Tick(69.9))
        s.event(Tick(70)).expect(Said("step 1 of 2 done"), StepReached("pause until promoted", "pause 30 s"))


def test_an_operator_may_promote_a_step_that_had_no_traffic() -> None:
    with script(size=2, strategy="canary", steps=NEEDS, needs_traffic=True) as s:
        s.event(Started(0, "v2")).expect(StepReached("analyse 60 s", ""))
        s.event(ActionRequested(5, Action.PROMOTE)).expect(
            StepReached("pause 30 s", "analyse 60 s"), Said("promote, requested by an operator")
        )


def test_without_a_guard_time_alone_ends_a_step() -> None:
    with script(size=2, strategy="canary", steps=NEEDS[1:]) as s:
        s.event(Started(0, "v2")).expect(StepReached("pause 30 s", ""))
        s.event(Tick(30)).expect(Said("step 1 of 2 done"), StepReached("pause until promoted", "pause 30 s"))
