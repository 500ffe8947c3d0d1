"""Figures beside the journal: counts that add up over processes, values that age."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from changeover.engine import figures
from changeover.engine.figures import (
    FILE,
    FRESH,
    LATENCIES,
    FiguresStore,
    GuardSample,
    bound_text,
    bucket_of,
    read_figures,
    read_samples,
)

LOST = ("requests", ("get", "lost"))


def test_counts_of_several_writers_add_up_and_begin_at_zero(tmp_path: Path) -> None:
    FiguresStore(tmp_path).add({LOST: 0})
    assert read_figures(tmp_path, 0).counts == {LOST: 0}
    for _ in range(3):
        FiguresStore(tmp_path).add({LOST: 2, ("sum", ("get",)): 0.5})
    assert read_figures(tmp_path, 0).counts == {LOST: 6, ("sum", ("get",)): 1.5}


def test_a_source_replaces_its_own_values_and_no_others(tmp_path: Path) -> None:
    store = FiguresStore(tmp_path)
    store.show("controller", {("in_flight", ("a",)): 3, ("in_flight", ("b",)): 4}, 100)
    store.show("guard", {("guard", ("c",)): 0.5}, 101)
    store.show("controller", {("in_flight", ("b",)): 5}, 102)
    assert read_figures(tmp_path, 103).measured == {("in_flight", ("b",)): 5, ("guard", ("c",)): 0.5}


def test_a_value_that_nothing_measures_any_more_is_unknown_and_not_its_last(tmp_path: Path) -> None:
    FiguresStore(tmp_path).show("controller", {("in_flight", ()): 3}, 100)
    assert read_figures(tmp_path, 100 + FRESH).measured == {("in_flight", ()): 3}
    assert read_figures(tmp_path, 101 + FRESH).measured == {}


def test_to_read_creates_nothing(tmp_path: Path) -> None:
    assert read_figures(tmp_path, 0).counts == {}
    assert list(tmp_path.iterdir()) == []


def test_counts_of_another_format_are_not_shown_and_begin_anew(tmp_path: Path) -> None:
    FiguresStore(tmp_path).add({LOST: 7})
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.execute("pragma user_version = 99")
    assert read_figures(tmp_path, 0).counts == {}
    FiguresStore(tmp_path).add({LOST: 1})
    assert read_figures(tmp_path, 0).counts == {LOST: 1}


def sample(at: float, value: float | None = 0.5, tier: str = "web") -> GuardSample:
    return GuardSample(tier, "g/broken", at, value, None, 1.0, 5.0, "" if value is not None else "no answer")


def test_the_samples_of_a_rollout_are_those_of_its_tier_and_time_with_the_missing_ones(tmp_path: Path) -> None:
    store = FiguresStore(tmp_path)
    store.record([sample(9), sample(11, None), sample(10), sample(10, tier="edge")])
    store.record([sample(31)])
    assert read_samples(tmp_path, "web", 10, 30) == [sample(10), sample(11, None)]


def test_only_the_last_samples_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "SAMPLES", 3)
    for at in range(5):
        FiguresStore(tmp_path).record([sample(at)])
    assert [one.at for one in read_samples(tmp_path, "web", 0, 9)] == [2, 3, 4]


def test_figures_without_samples_have_none(tmp_path: Path) -> None:
    assert read_samples(tmp_path, "web", 0, 9) == ()
    FiguresStore(tmp_path).add({LOST: 7})
    assert read_samples(tmp_path, "web", 0, 9) == ()
    FiguresStore(tmp_path).record([sample(1)])
    assert read_figures(tmp_path, 0).counts == {LOST: 7}


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("nonsense" * 100)
    with pytest.raises(sqlite3.Error):
        FiguresStore(tmp_path).add({LOST: 1})
    with pytest.raises(sqlite3.Error):
        read_figures(tmp_path, 0)


@pytest.mark.parametrize(("seconds", "bound"), [(0.0, "0.005"), (0.005, "0.005"), (0.9, "1.0"), (121.0, "+Inf")])
def test_a_latency_is_in_the_first_bucket_that_holds_it(seconds: float, bound: str) -> None:
    assert bucket_of(seconds) == bound


def test_bounds_are_written_as_prometheus_writes_them() -> None:
    assert [bound_text(one) for one in LATENCIES] == [str(one) for one in LATENCIES]
