"""A canary is compared with its baseline: a real difference is found, chance and equal values are not."""

from __future__ import annotations

import pytest

from changeover.rollout.guard.comparison import compare

DRIFT = [100.0, 140.0, 90.0, 180.0, 120.0, 160.0, 110.0, 150.0]
"""What a busy machine does to both sides alike."""


def test_values_that_are_all_equal_are_no_difference() -> None:
    found = compare([5.0] * 8, [5.0] * 8, "median")
    assert (found.p, found.more, found.samples) == (1.0, 0.0, 8)


def test_a_canary_that_is_twice_as_slow_is_found() -> None:
    found = compare([20.0 + n for n in range(8)], [10.0 + n for n in range(8)], "median")
    assert found.p < 0.01
    assert found.more == 10.0


def test_a_canary_that_is_faster_is_never_worse() -> None:
    assert compare([10.0 + n for n in range(8)], [20.0 + n for n in range(8)], "median").p == 1.0


def test_a_difference_within_each_interval_is_found_though_both_sides_drift_together() -> None:
    slower = [value + 5 + n / 10 for n, value in enumerate(DRIFT)]
    assert compare(slower, DRIFT, "median").p < 0.01


def test_chance_alone_is_not_taken_for_a_difference() -> None:
    assert compare(DRIFT, [*DRIFT[1:], DRIFT[0]], "median").p > 0.2


@pytest.mark.parametrize(("centre", "middle"), [("median", 0.0), ("mean", 2.0)])
def test_the_middle_of_a_small_share_of_errors_is_its_mean(centre: str, middle: float) -> None:
    found = compare([0.0, 0.0, 0.0, 0.0, 10.0], [0.0] * 5, "mean" if centre == "mean" else "median")
    assert (found.canary, found.baseline) == (middle, 0.0)


def test_both_sides_need_a_value_for_each_interval() -> None:
    with pytest.raises(ValueError, match="zip"):
        compare([1.0, 2.0], [1.0], "median")
