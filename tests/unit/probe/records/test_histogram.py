from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.probe.records.histogram import Histogram

DURATIONS = st.floats(min_value=0, max_value=1000, allow_nan=False)
MICROSECOND = 1e-6


def filled(durations: list[float]) -> Histogram:
    histogram = Histogram()
    for seconds in durations:
        histogram.add(seconds)
    return histogram


@given(durations=st.lists(DURATIONS, min_size=1), share=st.floats(min_value=0.01, max_value=1))
def test_a_quantile_is_never_better_than_the_truth_and_at_most_a_bucket_worse(
    durations: list[float], share: float
) -> None:
    exact = sorted(durations)[math.ceil(share * len(durations)) - 1]
    found = filled(durations).quantile(share)
    assert exact - MICROSECOND <= found <= exact * (1 + 1 / 32) + 2 * MICROSECOND


@given(durations=st.lists(DURATIONS, min_size=1))
def test_the_last_quantile_is_the_exact_maximum(durations: list[float]) -> None:
    assert filled(durations).quantile(1.0) <= max(durations) + MICROSECOND
    assert filled(durations).max == max(durations)


def test_a_clock_that_steps_back_counts_as_no_time() -> None:
    assert filled([-0.5]).quantile(0.5) == 0


def test_an_empty_histogram_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="no durations"):
        Histogram().quantile(0.5)
