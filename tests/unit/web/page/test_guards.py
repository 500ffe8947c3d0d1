"""The chart of a guard: every sample since the rollout began, no value where there was none, no line over a gap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from changeover.engine.figures import GuardSample
from changeover.web.page.drawing import CHART_HEIGHT, CHART_WIDTH, chart
from changeover.web.page.rollouts import POINTS, GuardSeries, guard_series

LIMIT: Mapping[str, float | None] = {"few/broken": 1.0}


def sample(at: float, value: float | None, baseline: float | None = None) -> GuardSample:
    missing = "" if value is not None else "17 answers in 5 s, 20 are needed"
    return GuardSample("runtime", "few/broken", 1000 + at, value, baseline, None if baseline else 1.0, 5.0, missing)


def series(*samples: GuardSample, seconds: float = 100) -> GuardSeries:
    (found,) = guard_series(samples, LIMIT, 1000, 1000 + seconds)
    return found


def xs(lines: Sequence[str]) -> list[list[float]]:
    return [[float(point.split(",")[0]) for point in line.split()] for line in lines]


def test_a_condition_is_shown_before_its_first_sample() -> None:
    found = series()
    assert (found.condition, found.limit, found.points, found.missing) == ("few/broken", 1.0, (), "")
    drawn = chart(found, 100)
    assert (drawn.lines, drawn.gaps, drawn.last) == ([], [], None)
    assert drawn.limit is not None


def test_a_line_spans_the_samples_since_the_rollout_began() -> None:
    drawn = chart(series(sample(50, 0.5), sample(55, 0.5), sample(100, 0.0)), 100)
    assert xs(drawn.lines) == [[0.45 * CHART_WIDTH, 0.5 * CHART_WIDTH, 0.55 * CHART_WIDTH], [304.0, CHART_WIDTH]]
    assert drawn.lines[1].endswith(f",{CHART_HEIGHT}.0") or drawn.lines[1].endswith(f",{CHART_HEIGHT}")
    assert drawn.last is not None
    assert drawn.last.value == 0.0


def test_a_missing_sample_breaks_the_line_and_is_drawn_as_a_gap_with_its_reason() -> None:
    found = series(sample(40, 0.5), sample(45, None), sample(50, 0.5), sample(55, None), seconds=58)
    drawn = chart(found, 58)
    assert len(drawn.lines) == 2
    assert len(drawn.gaps) == 2
    assert drawn.last is None
    assert found.missing == "17 answers in 5 s, 20 are needed"
    assert found.silent is None


def test_a_guard_that_looks_no_more_is_silent() -> None:
    assert series(sample(50, 0.5)).silent == 50
    assert series(sample(95, 0.5)).silent is None


def test_a_comparison_has_the_line_of_the_old_version_and_no_limit() -> None:
    drawn = chart(series(sample(50, 0.5, 0.4), sample(55, 0.5, 0.4)), 100)
    assert len(drawn.baselines) == len(drawn.lines) == 1
    assert drawn.limit is None


def test_of_many_samples_the_highest_and_the_missing_ones_stay() -> None:
    many = [sample(at, 9.0 if at == 5003 else None if at == 7002 else 0.1) for at in range(10_000)]
    found = series(*many, seconds=10_000)
    assert len(found.points) <= 2 * POINTS
    assert max(one.value or 0 for one in found.points) == 9.0
    assert [one.at for one in found.points if one.value is None] == [7002]
    assert len(chart(found, 10_000).lines) == 2
