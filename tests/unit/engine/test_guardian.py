"""When a guard runs: with instances to compare, while the rollout goes on, anew at each step; and what it feeds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from changeover.engine.guardian import guard
from changeover.engine.metrics.traffic import TrafficWitness
from changeover.engine.runtime import Guarding
from changeover.engine.timing import EngineTiming
from changeover.model.guard import Condition, Guard
from changeover.rollout.events import Event, GuardJudged, TrafficSeen
from changeover.rollout.guard.cohorts import Cohorts
from changeover.rollout.guard.evaluate import Missing, Sample, Seen
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.machine import Machine
from changeover.rollout.tier.settings import CanaryStep, RolloutSettings
from changeover.rollout.tier.state import Paused, Rolling, Rollout, Stepping, TierState

STEPS = (CanaryStep("analyse", stay=60.0), CanaryStep("pause", stay=60.0), CanaryStep("pause"))
SETTINGS = RolloutSettings("web", 1, 1, 0, 1.0, 60.0, 600.0, False, "canary", STEPS)
ROLLOUT = Rollout("v1", "canary", serial_before=1)
ANALYSING, PAUSING = Stepping(ROLLOUT, 0, 0.0), Stepping(ROLLOUT, 1, 0.0)
AT_ONCE = EngineTiming(guard_look=0.0)


@dataclass
class Answers:
    """A source of samples. Each answer moves the clock on by an interval; the last answer is repeated."""

    answers: list[float | None]
    now: float = 100.0
    begun: list[Cohorts] = field(default_factory=list)
    asked: int = 0
    touched: bool = True
    """Whether requests reach the new instance."""
    looks: int = 0
    reports: list[str] = field(default_factory=list)
    """What was fed of traffic."""

    async def begin(self, cohorts: Cohorts, at: float) -> None:
        self.begun.append(cohorts)

    async def passed(self) -> Mapping[str, int]:
        self.looks += self.touched
        return {"web-v1-1": self.asked, "web-v2-2": self.looks}

    async def measure(self, key: str, condition: Condition, cohorts: Cohorts, at: float) -> Seen:
        value = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return Missing(at, key, "no data") if value is None else Sample(at, key, value)

    def tick(self) -> float:
        self.now += 1.0
        return self.now


def machine(state: Any = ANALYSING, *members: tuple[str, Phase]) -> Machine:
    there = members or (("v1", Phase.ADMITTED), ("v2", Phase.ADMITTED))
    fleet = Fleet(Member(f"web-{of}-{n}", of, n, phase, {phase: 0.0}) for n, (of, phase) in enumerate(there, start=1))
    return Machine(SETTINGS, TierState("v2", state, serial=2), fleet)


def watched(
    of: Machine, answers: Answers, until: Callable[[list[Event]], bool], meanwhile: Callable[[], None] = lambda: None
) -> list[Event]:
    """Guard that tier until the condition holds, calling `meanwhile` at each turn; returns what was fed."""
    rule = Condition.model_validate(
        {"name": "broken", "source": "probe", "measure": "error_ratio", "at_most": 0.5, "interval": "1s", "count": 3}
    )
    guarding = Guarding(
        (Guard(name="g", conditions=(rule,)),), lambda: {"probe": answers}, lambda: TrafficWitness(answers.passed, None)
    )
    fed: list[Event] = []

    def feed(event: Event) -> None:
        if isinstance(event, TrafficSeen):
            answers.reports.append(event.missing)
        else:
            fed.append(event)

    async def go() -> None:
        task = asyncio.create_task(guard(of, guarding, feed, lambda _, __: None, answers.tick, AT_ONCE))
        async with asyncio.timeout(5):
            while not until(fed):
                meanwhile()
                await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(go())
    return fed


def after(turns: int) -> Callable[[list[Event]], bool]:
    left = iter(range(turns))
    return lambda _: next(left, None) is None


def some(fed: list[Event]) -> bool:
    return bool(fed)


def verdict(fed: list[Event]) -> str:
    assert isinstance(fed[0], GuardJudged)
    return fed[0].verdict


def test_an_analysing_step_ends_with_a_pass_and_only_after_all_its_samples() -> None:
    answers = Answers([0.0])
    assert verdict(watched(machine(), answers, some)) == "passed"
    assert answers.asked == 3


def test_a_bad_sample_fails_at_once() -> None:
    answers = Answers([0.0, 0.9])
    assert verdict(watched(machine(), answers, some)) == "failed"
    assert answers.asked == 2


def test_missing_samples_are_inconclusive() -> None:
    assert verdict(watched(machine(), Answers([None]), some)) == "inconclusive"


def test_a_step_that_does_not_analyse_is_watched_and_never_passes() -> None:
    answers = Answers([0.0])
    assert watched(machine(PAUSING), answers, lambda _: answers.asked > 9) == []
    failing = Answers([0.0, 0.0, 0.0, 0.0, 0.9])
    assert verdict(watched(machine(PAUSING), failing, some)) == "failed"


def test_nothing_is_measured_before_a_new_instance_gets_traffic_or_while_the_rollout_is_stopped() -> None:
    for still in (
        machine(ANALYSING, ("v1", Phase.ADMITTED), ("v2", Phase.READY)),
        machine(Paused("lunch", ANALYSING)),
        machine(Rolling(Rollout(None, "rolling"))),
    ):
        answers = Answers([0.9])
        assert watched(still, answers, after(50)) == []
        assert (answers.begun, answers.asked) == ([], 0)


def test_a_pause_ends_the_guard_run_and_the_step_is_guarded_anew_when_it_goes_on() -> None:
    tier, answers = machine(), Answers([0.0])

    def pause() -> None:
        if answers.asked == 1 and not tier.tier.stopped:
            tier.tier = replace(tier.tier, state=Paused("lunch", ANALYSING))

    assert watched(tier, answers, after(100), pause) == []
    assert (len(answers.begun), answers.asked) == (1, 1)
    tier.tier = replace(tier.tier, state=ANALYSING)
    assert verdict(watched(tier, answers, some)) == "passed"
    assert (len(answers.begun), answers.asked) == (2, 1 + 3)


def test_each_step_is_compared_with_the_instances_that_serve_when_it_begins() -> None:
    answers = Answers([0.0])
    watched(machine(), answers, some)
    (cohorts,) = answers.begun
    assert [one.name for one in cohorts.canary] == ["web-v2-2"]
    assert [one.name for one in cohorts.baseline] == ["web-v1-1"]
    assert not cohorts.fresh


def test_an_analysis_passes_only_after_a_request_has_reached_a_new_instance() -> None:
    answers = Answers([0.0], touched=False)

    def arrive() -> None:
        answers.touched = answers.asked > 7  # two rounds of three samples are good by then

    assert verdict(watched(machine(), answers, some, arrive)) == "passed"
    assert answers.reports == ["no request reached web-v2-2 in this step", ""]
    assert answers.asked > 7


def test_without_a_request_to_the_new_instances_good_samples_end_no_step() -> None:
    answers = Answers([0.0], touched=False)
    assert watched(machine(), answers, lambda _: answers.asked > 20) == []
    assert answers.reports == ["no request reached web-v2-2 in this step"]


def test_a_failure_needs_no_traffic() -> None:
    answers = Answers([0.9], touched=False)
    assert verdict(watched(machine(), answers, some)) == "failed"
