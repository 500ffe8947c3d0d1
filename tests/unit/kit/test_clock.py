"""The controller's clock: begins at wall time, then only counts."""

from __future__ import annotations

import pytest

from changeover.kit.clock import Clock


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The clock on the wall and the one that only counts."""
    found = {"wall": 1_000_000.0, "counted": 50.0}
    monkeypatch.setattr("time.time", lambda: found["wall"])
    monkeypatch.setattr("time.monotonic", lambda: found["counted"])
    return found


def test_it_begins_at_wall_time_and_goes_on_with_what_is_counted(hands: dict[str, float]) -> None:
    clock = Clock()
    assert clock.now() == 1_000_000
    hands["counted"] += 2.5
    assert clock.now() == 1_000_002.5


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_wall_clock_that_is_set_changes_nothing(hands: dict[str, float], jump: float) -> None:
    clock = Clock()
    hands["wall"] += jump
    hands["counted"] += 1
    assert clock.now() == 1_000_001


def test_it_begins_no_earlier_than_what_was_written_down_last(hands: dict[str, float]) -> None:
    """The wall clock was set back between two controllers."""
    clock = Clock(not_before=1_000_500.0)
    hands["counted"] += 1
    assert clock.now() == 1_000_501
    assert Clock(not_before=999_000.0).now() == 1_000_000
