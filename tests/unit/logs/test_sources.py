"""The logs of a made-up state folder, in one order of time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from changeover.engine.journal.journal import Journal
from changeover.engine.journal.records import INTERRUPTION, LogLine
from changeover.kit.clock import utc
from changeover.logs.entries import Entry, merged
from changeover.logs.sources import ChainLogs
from changeover.platforms.local.log_times import GrowthRecorder, times_of
from changeover.rollout.tier.state import TierState

T = 1_800_000_000.0


class Folder:
    """A state folder. Times are seconds after T."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = Journal(path / "journal.db")
        self.journal.take_lease("test", T)

    def log(self, name: str, *lines: str, written: float = 100.0) -> Path:
        """Append lines to a log that was last written to at that time."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as target:
            target.write("".join(f"{line}\n" for line in lines))
        os.utime(file, (T + written, T + written))
        return file

    def decide(self, at: float, instance: str, text: str, kind: str = "phase") -> None:
        line = LogLine(kind, text, instance)
        self.journal.write_step(T + at, "runtime", TierState("v2"), (), [line])

    def create(self, at: float, instance: str) -> None:
        self.decide(at, instance, "create instance: template v2", "command")

    def print(self, target: str = "", since: float = -T) -> list[str]:
        with closing(ChainLogs(self.path, self.journal)) as logs:
            return shown(merged(logs.streams(T + since)), target)


def shown(entries: Iterator[Entry], target: str = "") -> list[str]:
    return [f"{one.source}: {one.message}" for one in entries if one.is_of(target)]


def at(seconds: float) -> str:
    return utc(T + seconds)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path)
    with closing(made.journal):
        yield made


def test_lines_of_all_logs_stand_in_the_order_of_their_times(folder: Folder) -> None:
    folder.create(1, "runtime-v2-1")
    folder.decide(3, "runtime-v2-1", "creating -> warming: became ready")
    folder.log("instances/runtime-v2-1/log", f"{at(2)} listening", f"{at(4)} GET /")
    folder.log("haproxy/log", f"{at(5)} server down")
    assert folder.print() == [
        "runtime-v2-1: " + f"{at(2)} listening",
        "controller: creating -> warming: became ready",
        "runtime-v2-1: " + f"{at(4)} GET /",
        "haproxy: " + f"{at(5)} server down",
    ]


def test_lines_without_a_time_stand_at_the_start_after_the_line_before_and_at_the_last_write(folder: Folder) -> None:
    folder.create(1, "runtime-v2-1")
    folder.log("keeper/log", f"{at(2)}  two", f"{at(6)}  six", f"{at(9)}  nine")
    folder.log("instances/runtime-v2-1/log", "first", f"{at(5)} five", "after five", "last", written=8)
    assert [line.partition(": ")[2].split("  ")[-1] for line in folder.print()] == [
        "first",
        "two",
        f"{at(5)} five",
        "after five",
        "six",
        "last",
        "nine",
    ]


def test_a_line_without_a_time_stands_where_its_log_was_seen_to_grow_by_it(folder: Folder) -> None:
    folder.create(1, "runtime-v2-1")
    haproxy = folder.log("haproxy/log", "server added", written=2)
    recorder = GrowthRecorder()
    recorder.look([haproxy])
    for moment, lines in ((10.5, ("draining", "down")), (20.5, ("deleted",))):
        folder.log("haproxy/log", *lines, written=moment)
        recorder.look([haproxy])
    times = times_of(haproxy).read_text().splitlines()
    times[1:] = [f"{len('server added draining down ')} {T + 10:.3f} {T + 10.5:.3f}", f"35 {T + 20:.3f} {T + 20.5:.3f}"]
    times_of(haproxy).write_text("\n".join(times))
    for moment in (5, 10.2, 15, 30):
        folder.decide(moment, "runtime-v2-1", f"at {moment}")
    assert [line.partition(": ")[2] for line in folder.print()] == [
        "server added",
        "at 5",
        "draining",
        "at 10.2",
        "down",
        "at 15",
        "deleted",
        "at 30",
    ]


def test_a_time_that_had_not_come_when_the_log_was_written_is_no_time_of_writing(folder: Folder) -> None:
    folder.create(1, "runtime-v2-1")
    folder.log("instances/runtime-v2-1/log", "expires 2099-01-01 00:00:00", f"{at(4)} four", "end")
    folder.log("keeper/log", f"{at(3)}  three")
    assert [line[-5:] for line in folder.print()] == ["00:00", "three", " four", ": end"]


def test_what_the_keeper_prints_and_the_journal_has_is_printed_once(folder: Folder) -> None:
    folder.create(1, "runtime-v2-1")
    folder.decide(3, "runtime-v2-1", "ready -> admitted: every router admits it")
    folder.log(
        "keeper/log",
        f"{at(3)}  runtime-v2-1     admitted  every router admits it",
        f'{{"time": "{at(4)}", "level": "warning", "rollout": 7, "tier": "runtime", "instance": null, "event": "note", '
        '"message": "router restarted"}',
        f"{at(5)}  error: disk full; retrying",
    )
    assert folder.print() == [
        "controller: ready -> admitted: every router admits it",
        "keeper: router restarted",
        "keeper: error: disk full; retrying",
    ]
    with closing(ChainLogs(folder.path, folder.journal)) as logs:
        _, warning, error = merged(logs.streams(0.0))
    assert (warning.level, warning.rollout, warning.tier) == ("warning", 7, "runtime")
    assert error.level == "error"


def test_a_rollout_has_its_beginning_its_interruptions_and_its_end(folder: Folder) -> None:
    folder.journal.begin_release(T, {"runtime": "v2"}, {"runtime": "v1"})
    row = folder.journal.begin_rollout(T + 1, "runtime", "v1", "v2")
    folder.journal.write_incident(T + 2, LogLine(INTERRUPTION, "The load balancer ended."))
    folder.journal.end_rollout(row.id, T + 3, "undone", "hook failed")
    folder.log("roll.log", f"{at(2.5)}  waiting for a hook", "runtime: v1 -> v2 in 3s", written=4)
    with closing(ChainLogs(folder.path, folder.journal)) as logs:
        found = [(one.source, one.level, one.message) for one in merged(logs.streams(0.0))]
    assert found[0][2].startswith("asked for by ")
    assert found[1:] == [
        ("controller", "warning", "The load balancer ended."),
        ("roll", "", "waiting for a hook"),
        ("controller", "warning", f"rollout {row.id} undone: hook failed"),
        ("roll", "", "runtime: v1 -> v2 in 3s"),
    ]


def test_the_lines_of_one_instance_one_tier_or_one_source_can_be_asked_for(folder: Folder) -> None:
    folder.create(1, "runtime-v2-1")
    folder.decide(3, "runtime-v2-1", "creating -> warming: became ready")
    folder.log("instances/runtime-v2-1/log", "mine")
    folder.log("instances/edge-v1-1/log", "another's")
    folder.log("haproxy/log", "its own")
    own = ["runtime-v2-1: mine", "controller: creating -> warming: became ready"]
    assert sorted(folder.print("runtime-v2-1")) == sorted(folder.print("runtime")) == sorted(own)
    assert folder.print("haproxy") == ["haproxy: its own"]
    assert folder.print("controller") == own[1:]
    with closing(ChainLogs(folder.path, folder.journal)) as logs:
        assert {"runtime", "runtime-v2-1", "edge-v1-1", "controller", "keeper", "roll", "haproxy"} <= logs.names()


def test_older_lines_are_left_out_on_request(folder: Folder) -> None:
    folder.create(1, "runtime-v2-1")
    folder.decide(20, "runtime-v2-1", "new")
    folder.decide(30, "runtime-v2-1", "newer")
    folder.log("instances/runtime-v2-1/log", f"{at(2)} old", f"{at(25)} new", written=25)
    folder.log("instances/edge-v1-1/log", "old", written=5)
    assert folder.print(since=10) == ["controller: new", f"runtime-v2-1: {at(25)} new", "controller: newer"]


def test_logs_that_are_followed_go_on_with_new_lines_new_instances_and_new_decisions(folder: Folder) -> None:
    folder.create(1, "runtime-v2-1")
    folder.log("instances/runtime-v2-1/log", "one", "tw")
    with closing(ChainLogs(folder.path, folder.journal, follow=True)) as logs:
        assert len(shown(merged(logs.streams(0.0)))) == 2
        assert shown(merged(logs.streams(0.0, T + 50))) == []
        folder.create(51, "runtime-v2-2")
        folder.log("instances/runtime-v2-1/log", f"{at(55)} late", written=55)
        folder.log("instances/runtime-v2-2/log", "begins", written=53)
        folder.decide(52, "runtime-v2-2", "creating -> warming: became ready")
        assert shown(merged(logs.streams(0.0, T + 54))) == [
            "controller: creating -> warming: became ready",
            "runtime-v2-2: begins",
            f"runtime-v2-1: {at(55)} late",
        ]
        for file in (folder.path / "instances/runtime-v2-1").iterdir():
            file.unlink()
        (folder.path / "instances/runtime-v2-1").rmdir()
        folder.log("keeper/log", "goes on")
        assert shown(merged(logs.streams(0.0, T + 60))) == ["keeper: goes on"]


def test_a_journal_with_more_lines_than_are_read_at_once_is_read_whole(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("changeover.logs.sources.AT_ONCE", 2)
    for number in range(5):
        folder.decide(number, "runtime-v2-1", f"step {number}")
    assert folder.print() == [f"controller: step {number}" for number in range(5)]
