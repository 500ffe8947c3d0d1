"""Logs stay within a size, and ended instances within a number."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from resource import RLIMIT_FSIZE, getrlimit, setrlimit

import pytest

from changeover.platforms.local.logs import bound, bounded, prune


def test_a_log_over_the_limit_is_emptied_and_its_end_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("ab") as writer:
        writer.write(b"x" * 100 + b"the end\n")
        writer.flush()
        bound(log, 8)
        writer.write(b"goes on\n")
    assert log.read_bytes() == b"goes on\n"
    assert (tmp_path / "log.1").read_bytes() == b"the end\n"


@contextlib.contextmanager
def _no_file_over(size: int) -> Iterator[None]:
    """As a full disk: no file of this process can be larger."""
    soft, hard = getrlimit(RLIMIT_FSIZE)
    setrlimit(RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        setrlimit(RLIMIT_FSIZE, (soft, hard))


def test_a_log_that_fills_the_disk_is_emptied_without_a_copy(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 100)
    (tmp_path / "log.1").write_bytes(b"older")
    with _no_file_over(4):
        bound(log, 8)
    assert [(file.name, file.stat().st_size) for file in tmp_path.iterdir()] == [("log", 0)]


def test_a_log_whose_end_cannot_be_kept_for_another_reason_stays_and_so_does_what_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, kept = tmp_path / "log", tmp_path / "log.1"
    log.write_bytes(b"x" * 100)
    kept.write_bytes(b"older")

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr("shutil.copyfileobj", fail)
    with pytest.raises(OSError, match="input/output"):
        bound(log, 8)
    assert (log.stat().st_size, kept.read_bytes()) == (100, b"older")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_reader_of_what_was_kept_reads_it_to_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    (tmp_path / "log.1").write_bytes(b"older lines\n")
    with (tmp_path / "log.1").open("rb") as reader:
        assert reader.read(5) == b"older"
        log.write_bytes(b"x" * 100)
        bound(log, 8)
        assert reader.read() == b" lines\n"


def test_of_two_processes_that_bound_the_same_log_one_does(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 100)
    with log.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        bound(log, 8)
        assert log.stat().st_size == 100
    bound(log, 8)
    assert log.stat().st_size == 0


def test_a_log_within_the_limit_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"short")
    bound(log, 5)
    bound(tmp_path / "none" / "log", 5)
    assert log.read_bytes() == b"short"
    assert not (tmp_path / "log.1").exists()


def test_every_log_of_a_chain_is_bounded_that_of_a_detached_command_too(tmp_path: Path) -> None:
    logs = [tmp_path / part for part in ("instances/runtime-v1-1/log", "haproxy/log", "keeper/log", "roll.log")]
    for log in logs:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"x" * 100)

    async def until_empty() -> None:
        async with asyncio.timeout(40), bounded(tmp_path, limit=10, look=0.01):
            while any(log.stat().st_size for log in logs):
                await asyncio.sleep(0.01)

    asyncio.run(until_empty())
    assert (tmp_path / "roll.log.1").stat().st_size == 10


def test_only_the_newest_folders_of_ended_instances_stay(tmp_path: Path) -> None:
    names = [f"runtime-v1-{n}" for n in range(1, 7)]
    for age, name in enumerate([*names, "edge-v1-1"]):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (age, age))
    (tmp_path / names[0] / "instance.json").touch()  # it runs
    prune(tmp_path, "runtime", 2, busy={names[1]})
    left = {folder.name for folder in tmp_path.iterdir()}
    assert left == {names[0], names[1], names[4], names[5], "edge-v1-1"}
