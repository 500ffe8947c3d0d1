"""When a log grew is recorded beside it, within a look, and no more than its limit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from changeover.platforms.local import log_times
from changeover.platforms.local.log_times import GrowthRecorder, LogTimes, times_of
from changeover.platforms.local.logs import bound


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    return now


def write(log: Path, text: str, at: float) -> None:
    with log.open("a", encoding="ascii") as file:
        file.write(text)
    os.utime(log, (at, at))


def test_the_last_line_of_a_look_has_the_time_of_the_write_and_earlier_ones_that_of_the_look_before(
    log: Path, clock: list[float]
) -> None:
    recorder = GrowthRecorder()
    recorder.look([log])
    write(log, "one\ntwo\n", 100.7)
    clock[0] = 101.0
    recorder.look([log])
    write(log, "three\n", 101.5)
    assert [LogTimes(log).of(end) for end in (4, 8, 14)] == [100.0, 100.7, 101.5]


def test_what_was_there_before_the_first_look_has_no_time_but_its_end(log: Path, clock: list[float]) -> None:
    write(log, "one\ntwo\n", 50.0)
    GrowthRecorder().look([log])
    times = LogTimes(log)
    assert [times.of(end) for end in (0, 4, 8, 99)] == [None, None, 50.0, None]


def test_a_log_that_does_not_grow_costs_nothing(log: Path, clock: list[float]) -> None:
    write(log, "one\n", 50.0)
    recorder = GrowthRecorder()
    for clock[0] in (100.0, 101.0, 102.0):
        recorder.look([log, log.with_name("none")])
    assert len(times_of(log).read_text().splitlines()) == 1


def test_a_log_that_was_emptied_begins_anew(log: Path, clock: list[float]) -> None:
    recorder = GrowthRecorder()
    write(log, "x" * 100, 99.0)
    recorder.look([log])
    bound(log, 10)
    assert not times_of(log).exists()
    os.truncate(log, 0)
    write(log, "new\n", 100.5)
    clock[0] = 101.0
    recorder.look([log])
    assert LogTimes(log).of(4) == 100.5


def test_the_times_of_a_log_are_bounded_too(log: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_times, "LIMIT", 300)
    recorder = GrowthRecorder()
    for number in range(100):
        write(log, "x", 100.0 + number)
        clock[0] = 101.0 + number
        recorder.look([log])
        assert times_of(log).stat().st_size <= 330
    assert LogTimes(log).of(100) == 199.0


def test_times_that_are_damaged_are_left_out(log: Path) -> None:
    write(log, "one\n", 50.0)
    times_of(log).write_text("x y\n")
    assert LogTimes(log).of(4) == 50.0
