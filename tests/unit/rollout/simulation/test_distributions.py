"""What is drawn is what was asked for; what is drawn at once is what a simulation of every request would find."""

from __future__ import annotations

from math import exp, inf
from random import Random
from statistics import fmean, pstdev

import pytest

from changeover.rollout.simulation.distributions import (
    Constant,
    Distribution,
    LogNormal,
    TrafficModel,
    Uniform,
    poisson,
    waiting_time,
)

SPREADS = [Constant(3.0), Uniform(1.0, 5.0), LogNormal(2.0, 1.8)]
MANY = 20_000


@pytest.mark.parametrize("spread", SPREADS, ids=str)
def test_means_are_the_means_of_what_is_drawn(spread: Distribution) -> None:
    random = Random(1)
    drawn = [spread.draw(random) for _ in range(MANY)]
    assert fmean(drawn) == pytest.approx(spread.mean(), rel=0.02)
    assert fmean(1 / value for value in drawn) == pytest.approx(spread.mean(-1), rel=0.02)


@pytest.mark.parametrize("weight", [-1, 1])
@pytest.mark.parametrize("spread", SPREADS, ids=str)
def test_a_weighted_draw_meets_each_value_in_proportion_to_its_weight(spread: Distribution, weight: int) -> None:
    random = Random(1)
    plain = [spread.draw(random) for _ in range(MANY)]
    weights = [value**weight for value in plain]
    expected = sum(v * w for v, w in zip(plain, weights, strict=True)) / sum(weights)
    assert fmean(spread.draw(random, weight) for _ in range(MANY)) == pytest.approx(expected, rel=0.03)


def test_half_of_what_is_around_a_median_lies_below_it_and_two_thirds_within_the_factor() -> None:
    random, spread = Random(1), LogNormal(10.0, 2.0)
    drawn = [spread.draw(random) for _ in range(MANY)]
    assert fmean(value < 10.0 for value in drawn) == pytest.approx(0.5, abs=0.01)
    assert fmean(5.0 < value < 20.0 for value in drawn) == pytest.approx(0.683, abs=0.01)


@pytest.mark.parametrize("mean", [0.0, 0.3, 4.0, 1200.0])
def test_how_many_is_poisson(mean: float) -> None:
    random = Random(1)
    drawn = [poisson(random, mean) for _ in range(2_000)]
    assert fmean(drawn) == pytest.approx(mean, rel=0.05)
    assert pstdev(drawn) ** 2 == pytest.approx(mean, rel=0.1)
    assert fmean(n == 0 for n in drawn) == pytest.approx(exp(-mean), abs=0.03)


def test_waiting_is_as_long_as_asked_on_average() -> None:
    random = Random(1)
    assert fmean(waiting_time(random, 7.0) for _ in range(MANY)) == pytest.approx(7.0, rel=0.02)


@pytest.mark.parametrize("age", [inf, 60.0, 5.0])
def test_what_is_in_flight_is_what_a_simulation_of_every_request_finds(age: float) -> None:
    load = TrafficModel(0.2, LogNormal(50.0, 1.3), Uniform(0.7, 1.4))

    def one_by_one(random: Random) -> list[float]:
        at, left = min(age, 400.0), []  # none takes longer
        while (at := at - waiting_time(random, 1 / load.rate)) > 0:  # began `at` seconds ago
            seconds = load.work.draw(random) / load.pace.draw(random)
            if seconds > at:
                left.append(seconds - at)
        return left

    random = Random(1)
    slow = [one_by_one(random) for _ in range(3_000)]
    fast = [load.in_flight(random, age) for _ in range(3_000)]
    assert fmean(map(len, fast)) == pytest.approx(fmean(map(len, slow)), rel=0.04)
    assert pstdev(map(len, fast)) == pytest.approx(pstdev(map(len, slow)), rel=0.06)
    for moment in (1, 2):
        mean_left = [fmean(left**moment for one in found for left in one) for found in (fast, slow)]
        assert mean_left[0] == pytest.approx(mean_left[1], rel=0.08)
    drains = [fmean(max(one, default=0.0) for one in found) for found in (fast, slow)]
    assert drains[0] == pytest.approx(drains[1], rel=0.04)


def test_at_once_is_rate_times_how_long_one_takes() -> None:
    assert TrafficModel(0.1, Constant(50e6), Constant(1e6)).at_once == pytest.approx(5.0)
    assert TrafficModel(0.0, Constant(50e6), Constant(1e6)).in_flight(Random(1), inf) == []
