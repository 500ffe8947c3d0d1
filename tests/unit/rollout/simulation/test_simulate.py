"""Rollouts in virtual time: small ones by hand, many by chance, large ones by what a step costs."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from math import inf
from random import Random
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from changeover.rollout.invariants import Violation
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Cause
from changeover.rollout.simulation.distributions import Constant, Distribution, LogNormal, TrafficModel, Uniform
from changeover.rollout.simulation.lower_bound import lower_bound
from changeover.rollout.simulation.model import SimulatedTier, SimulationResult
from changeover.rollout.simulation.simulate import Simulation, simulate
from changeover.rollout.strategies import rolling
from changeover.rollout.strategies.next_actions import NextActions, Target
from changeover.rollout.tier.settings import CanaryStep, RolloutSettings

TWO = RolloutSettings(
    tier="web",
    size=2,
    surge=1,
    unavailable=0,
    min_ready=2.0,
    progress_deadline=60.0,
    drain_deadline=600.0,
    cut_at_deadline=False,
)
IDLE = TrafficModel(0.0, Constant(1.0))
STILL = SimulatedTier(
    start=Constant(8.0), confirm=Constant(1.0), stop=Constant(0.5), look=0.5, uploads=IDLE, requests=IDLE
)
"""Everything takes its time, and always the same; no traffic."""
ONE_UPLOAD = replace(STILL, uploads=TrafficModel(1 / 60, Constant(60e6), Constant(1e6)))
"""Uploads of 60 s, one at a time; beside `Middling` each is half done when its instance leaves: 30 s are left."""


@dataclass
class Middling:
    """Chance that always falls in the middle."""

    def random(self) -> float:
        return 0.5

    def gauss(self, mu: float, sigma: float) -> float:
        return mu


def run(rules: RolloutSettings, world: SimulatedTier = STILL, *, seed: int | None = None) -> SimulationResult:
    return simulate(rules, world, Middling() if seed is None else Random(seed))


# -- by hand -----------------------------------------------------------------------------------------------------------


def test_two_instances_one_after_the_other() -> None:
    # start 8, min_ready 2, admitted 1, removed 1, a second look 0.5, stop 0.5
    result = run(TWO)
    assert result.outcome == "completed"
    assert result.seconds == 2 * 13.0
    assert result.lower_bound == 2 * 10.0
    assert result.ratio == 1.3
    assert (result.peak, result.fewest) == (3, 2)
    assert result.steps == 1 + 2 * len(("ready", "tick", "admitted", "removed", "empty", "empty", "stop sent", "gone"))


def test_with_surge_for_both_they_go_side_by_side() -> None:
    result = run(replace(TWO, surge=2))
    assert (result.seconds, result.lower_bound, result.peak, result.fewest) == (13.0, 10.0, 4, 2)


def test_without_surge_an_old_one_leaves_first() -> None:
    # removed 1, a second look 0.5, stop 0.5; then start 8, min_ready 2, admitted 1
    result = run(replace(TWO, surge=0, unavailable=1))
    assert (result.seconds, result.lower_bound, result.peak, result.fewest) == (26.0, 20.0, 2, 1)


def test_min_ready_is_waited_for_in_every_wave() -> None:
    assert run(replace(TWO, min_ready=4.0)).seconds == run(TWO).seconds + 2 * 2.0


def test_a_drain_lasts_as_long_as_what_is_in_flight() -> None:
    result = run(TWO, ONE_UPLOAD)
    assert result.seconds == 2 * (13.0 + 30.0)
    assert result.lower_bound == 2 * (10.0 + 30.0)
    assert result.cut_uploads == 0


def test_at_the_deadline_policy_cut_cuts_and_says_how_many() -> None:
    # the drain ends at the deadline, and needs no second look
    result = run(replace(TWO, drain_deadline=20.0, cut_at_deadline=True), ONE_UPLOAD)
    assert result.seconds == 2 * (12.0 + 20.0 + 0.5)
    assert result.lower_bound == 2 * (10.0 + 20.0)
    assert (result.cut_uploads, result.cut_requests) == (2, 0)


def test_at_the_deadline_policy_wait_waits_and_cuts_nothing() -> None:
    result = run(replace(TWO, drain_deadline=20.0), ONE_UPLOAD)
    assert (result.seconds, result.cut_uploads) == (2 * 43.0, 0)


def test_short_requests_are_counted_apart() -> None:
    world = replace(STILL, requests=TrafficModel(1 / 60, Constant(60.0)))
    result = run(replace(TWO, drain_deadline=20.0, cut_at_deadline=True), world)
    assert (result.cut_uploads, result.cut_requests) == (0, 2)


def test_what_came_before_an_instance_served_is_not_in_flight_on_it() -> None:
    # The old instances have served for ever; with uploads of an hour none of the new ones has one that is half done.
    world = replace(ONE_UPLOAD, uploads=TrafficModel(1 / 3600, Constant(3600e6), Constant(1e6)), lifetime=inf)
    assert run(replace(TWO, drain_deadline=20.0, cut_at_deadline=True), world).cut_uploads == 2
    assert world.uploads.in_flight(Middling(), 1801.0) == [1800.0]
    assert world.uploads.in_flight(Middling(), 1799.0) == []


def test_a_template_that_never_starts_is_undone_and_nothing_that_serves_is_touched() -> None:
    result = run(TWO, replace(ONE_UPLOAD, start_failures=1.0))
    assert result.outcome == "undone"
    assert result.reason == "web-new-5 did not start: its process ended"
    assert (result.fewest, result.failures, result.healed, result.cut_uploads) == (2, 3, 3, 0)
    assert result.lower_bound is None
    assert result.ratio is None


def test_a_template_of_which_few_starts_fail_goes_on_and_one_that_never_starts_is_undone_in_its_first_wave() -> None:
    rules = replace(TWO, size=400, surge=100)
    world = replace(STILL, start=LogNormal(10.0, 1.5))
    good, bad = (run(rules, replace(world, start_failures=share), seed=1) for share in (0.05, 1.0))
    assert good.outcome == "completed"
    assert (bad.outcome, bad.fewest) == ("undone", 400)
    assert 50 <= bad.failures < 100


def test_a_start_later_than_the_progress_deadline_is_undone() -> None:
    result = run(replace(TWO, progress_deadline=5.0))
    assert (result.outcome, result.fewest) == ("undone", 2)


def test_instances_that_fail_are_healed() -> None:
    world = replace(STILL, lifetime=400.0, start_failures=0.05)
    results = [run(replace(TWO, size=20, surge=4), world, seed=seed) for seed in range(20)]
    completed = [result for result in results if result.outcome == "completed"]
    assert all(result.healed == result.failures for result in results)
    assert max(result.failures for result in completed) >= 5
    assert min(result.fewest for result in completed) < 20


def test_a_tier_in_which_something_has_always_just_failed_comes_to_rest_where_that_may_be_missing() -> None:
    rules = replace(TWO, size=200, surge=50, unavailable=20)
    result = run(rules, replace(STILL, lifetime=300.0), seed=1)  # some nine of them are missing at any time
    assert result.outcome == "completed"
    assert result.seconds < 120


def test_a_tier_that_fails_faster_than_it_starts_comes_to_no_good_end() -> None:
    result = run(replace(TWO, size=20, surge=4), replace(STILL, lifetime=15.0), seed=3)
    assert result.outcome in ("failed", "unfinished")
    assert result.reason


def test_blue_green_switches_once_and_drains_while_it_bakes() -> None:
    # start 8, min_ready 2, admitted 1, removed 1; baked; a last look; stop 0.5
    rules = replace(TWO, size=4, surge=1, strategy="blue-green", bake=20.0)
    result = run(rules, ONE_UPLOAD)
    assert (result.outcome, result.peak, result.fewest, result.cut_uploads) == ("completed", 8, 4, 0)
    assert result.lower_bound == 8 + 2 + 30
    assert result.lower_bound < result.seconds < result.lower_bound + 4
    baked = run(replace(rules, bake=100.0), ONE_UPLOAD)
    assert baked.lower_bound == 8 + 2 + 100
    assert baked.lower_bound < baked.seconds < baked.lower_bound + 4


@pytest.mark.parametrize("weighed", [True, False])
def test_a_canary_waits_in_its_steps_for_time_guard_and_people(weighed: bool) -> None:
    steps = (
        CanaryStep("share", share=25),
        CanaryStep("pause", stay=20.0),
        CanaryStep("analyse", stay=300.0),
        CanaryStep("pause"),
    )
    rules = replace(TWO, size=8, surge=2, strategy="canary", steps=steps, weighed=weighed)
    result = run(rules, STILL)
    assert result.outcome == "completed"
    assert result.lower_bound == 20 + 60 + 60 + 4 * 10  # 2 new ones to begin with, then 3 times 2 more
    assert result.lower_bound < result.seconds < result.lower_bound + 4 * 6


def test_an_analysis_that_takes_too_long_leaves_it_paused() -> None:
    rules = replace(TWO, strategy="canary", steps=(CanaryStep("analyse", stay=30.0),))
    result = run(rules, replace(STILL, verdict=Constant(40.0)))
    assert (result.outcome, result.seconds) == ("unfinished", 30.0)
    assert result.reason == "paused: the analysis came to no end within 30 s"


def test_the_floor_goes_in_waves() -> None:
    rules = replace(TWO, size=10, surge=3)
    assert lower_bound(rules, [8.0] * 10, [30.0] * 10) == 4 * 40.0
    assert lower_bound(replace(rules, surge=10), [8.0] * 10, [30.0] * 10) == 40.0
    assert lower_bound(replace(rules, surge=0, unavailable=5), [8.0] * 10, [30.0] * 10) == 2 * 40.0
    assert lower_bound(rules, [8.0] * 10, []) == 4 * 10.0


# -- by chance ---------------------------------------------------------------------------------------------------------

BUSY = SimulatedTier(
    start=LogNormal(10.0, 1.5), uploads=TrafficModel(0.05, LogNormal(50e6, 2.0), Uniform(0.5e6, 2e6)), lifetime=5000.0
)


def test_the_same_seed_gives_the_same_result_and_another_one_does_not() -> None:
    rules = replace(TWO, size=30, surge=8)
    assert run(rules, BUSY, seed=1) == run(rules, BUSY, seed=1)
    assert run(rules, BUSY, seed=1) != run(rules, BUSY, seed=2)


def test_run_in_pieces_it_comes_to_the_same() -> None:
    rules = replace(TWO, size=30, surge=8)
    pieces = Simulation(rules, BUSY, Random(1))
    while not pieces.finished:
        pieces.run(7)
    assert pieces.result() == run(rules, BUSY, seed=1)


def test_how_far_it_is_can_be_asked_at_any_time() -> None:
    simulation = Simulation(TWO, STILL, Random(1))
    assert (simulation.now, simulation.replaced, simulation.finished) == (0.0, 0, False)
    simulation.run(8)
    assert (simulation.now, simulation.replaced, simulation.finished) == (13.0, 1, False)
    simulation.run()
    assert (simulation.now, simulation.replaced, simulation.finished) == (26.0, 2, True)


def test_more_surge_is_faster_and_takes_more_machines() -> None:
    world = replace(BUSY, lifetime=inf)
    few, many = (run(replace(TWO, size=40, surge=surge), world, seed=1) for surge in (1, 10))
    assert many.seconds < few.seconds / 5
    assert (few.peak, many.peak) == (41, 50)


def test_a_longer_drain_deadline_cuts_less() -> None:
    rules, world = replace(TWO, size=200, surge=50, cut_at_deadline=True), replace(BUSY, lifetime=inf)
    cut = [run(replace(rules, drain_deadline=deadline), world, seed=1).cut_uploads for deadline in (10.0, 60.0, 3600.0)]
    assert cut[0] > cut[1] > cut[2] == 0


STEPS = [
    CanaryStep("share", share=10),
    CanaryStep("share", share=60),
    CanaryStep("share", share=100),
    CanaryStep("pause", stay=20.0),
    CanaryStep("pause"),
    CanaryStep("analyse", stay=200.0),
    CanaryStep("analyse", stay=10.0),
]


def shares_grow(steps: list[CanaryStep]) -> bool:
    shares = [step.share for step in steps if step.kind == "share"]
    return shares == sorted(shares)


times: st.SearchStrategy[Distribution] = st.sampled_from(
    [Constant(0.0), Constant(1.0), Uniform(0.1, 6.0), LogNormal(10.0, 1.5)]
)


@settings(max_examples=60, deadline=None)
@given(
    rules=st.builds(
        RolloutSettings,
        tier=st.just("web"),
        size=st.integers(1, 12),
        surge=st.integers(1, 6),
        unavailable=st.integers(0, 4),
        min_ready=st.sampled_from([0.0, 1.0, 5.0]),
        progress_deadline=st.sampled_from([15.0, 60.0]),
        drain_deadline=st.sampled_from([5.0, 60.0, 600.0]),
        cut_at_deadline=st.booleans(),
        strategy=st.sampled_from(["rolling", "canary", "blue-green"]),
        steps=st.lists(st.sampled_from(STEPS), max_size=4).filter(shares_grow).map(tuple),
        bake=st.sampled_from([0.0, 30.0]),
        by_load=st.booleans(),
        weighed=st.booleans(),
    ).map(lambda r: replace(r, unavailable=min(r.unavailable, r.size))),
    world=st.builds(
        SimulatedTier,
        start=times,
        start_failures=st.sampled_from([0.0, 0.1, 0.5]),
        lifetime=st.sampled_from([inf, 100.0, 3000.0]),
        confirm=times,
        stop=times,
        look=st.sampled_from([0.03, 0.5]),
        uploads=st.sampled_from([IDLE, BUSY.uploads, TrafficModel(1.0, Constant(1e6), Constant(1e6))]),
    ),
    seed=st.integers(0, 2**32),
)
def test_whatever_the_world_does_the_invariants_hold(rules: RolloutSettings, world: SimulatedTier, seed: int) -> None:
    result = run(rules, world, seed=seed)  # Watch raises Violation
    # Blue-green needs `size` more at the switch; on the way back and at rest the tier may use all of its surge.
    assert result.peak <= rules.size + max(rules.surge, rules.size if rules.strategy == "blue-green" else 0)
    if world.lifetime == inf:
        assert result.outcome != "unfinished" or "analysis came to no end" in result.reason
        assert result.fewest >= rules.size - rules.unavailable
        assert result.lost_uploads == result.lost_requests == 0
    assert result.healed <= result.failures
    if not rules.cut_at_deadline:
        assert result.cut_uploads == result.cut_requests == 0


def test_without_failures_nothing_is_faster_than_the_floor() -> None:
    for seed in range(40):
        result = run(
            replace(TWO, size=17, surge=1 + seed % 5, unavailable=seed % 3), replace(BUSY, lifetime=inf), seed=seed
        )
        assert result.ratio is not None
        assert result.ratio > 1.0


def test_a_machine_that_retires_too_many_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(fleet: Fleet, want: Target) -> NextActions:
        return right(fleet, want._replace(unavailable=want.unavailable + 1))

    right = rolling.next_actions
    monkeypatch.setattr(rolling, "next_actions", greedy)
    with pytest.raises(Violation, match="1: serving instances"):
        run(TWO)


# -- at any size -------------------------------------------------------------------------------------------------------


def calls_per_step(rules: RolloutSettings, world: SimulatedTier, *, whole: bool = False) -> float:
    """Function calls, and members looked at by them, for each step: of the whole rollout, or in the middle of it."""
    simulation = Simulation(rules, world, Random(1))
    if not whole:
        simulation.run(4 * rules.surge)
    before, calls = simulation.steps, 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")  # a generator is called anew for every member it yields

    sys.setprofile(count)
    try:
        simulation.run(None if whole else 400)
    finally:
        sys.setprofile(None)
    assert simulation.finished is whole
    return calls / (simulation.steps - before)


def test_a_large_tier_rolls_as_near_to_the_floor_as_a_small_one() -> None:
    world = SimulatedTier(start=LogNormal(10.0, 1.5), confirm=Constant(5.0))
    for size in (100, 1_000):
        ratio = run(replace(TWO, size=size, surge=size // 4, cut_at_deadline=True), world, seed=1).ratio
        assert ratio is not None
        assert ratio < 1.1


@pytest.mark.parametrize("share", [0.01, 0.25], ids=["surge 1%", "surge 25%"])
@pytest.mark.parametrize("size", [1_000, pytest.param(10_000, marks=pytest.mark.fuzz)])
def test_a_step_costs_the_same_in_a_fleet_of_thousands(size: int, share: float) -> None:
    world = replace(BUSY, lifetime=100_000.0)
    small, large = (calls_per_step(replace(TWO, size=n, surge=int(n * share)), world) for n in (100, size))
    assert large < 1.5 * small


CANARY = replace(TWO, strategy="canary", steps=(STEPS[0], STEPS[3], STEPS[1]))


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param(replace(TWO, strategy="blue-green"), id="blue-green"),
        pytest.param(replace(CANARY, weighed=True), id="canary by weight", marks=pytest.mark.fuzz),
        pytest.param(replace(CANARY, weighed=False), id="canary by instances", marks=pytest.mark.fuzz),
    ],
)
def test_a_whole_rollout_costs_the_same_for_each_instance_in_a_fleet_ten_times_as_large(rules: RolloutSettings) -> None:
    world = replace(BUSY, lifetime=inf)
    small, large = (calls_per_step(replace(rules, size=n, surge=n // 4), world, whole=True) for n in (40, 400))
    assert large < 1.5 * small


def test_a_step_that_looks_at_the_whole_fleet_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def curious(fleet: Fleet, member: Member, cause: Cause, at: float) -> bool:
        return max(m.serial for m in fleet) > 0 and right(fleet, member, cause, at)

    right = Fleet.move
    monkeypatch.setattr(Fleet, "move", curious)
    small, large = (calls_per_step(replace(TWO, size=n, surge=n // 100), BUSY) for n in (100, 1_000))
    assert large > 3 * small
