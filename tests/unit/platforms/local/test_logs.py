"""Logs stay within a size, and ended instances within a number."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from resource import RLIMIT_FSIZE, getrlimit, setrlimit

from changeover.platforms.local.logs import bound, keep_bounded, prune


def test_a_log_over_the_limit_is_emptied_and_its_end_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("ab") as writer:
        writer.write(b"x" * 100 + b"the end\n")
        writer.flush()
        bound(log, 8)
        writer.write(b"goes on\n")
    assert log.read_bytes() == b"goes on\n"
    assert (tmp_path / "log.1").read_bytes() == b"the end\n"


def test_a_log_that_fills_the_disk_is_emptied_without_a_copy(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 100)
    soft, hard = getrlimit(RLIMIT_FSIZE)
    setrlimit(RLIMIT_FSIZE, (4, hard))  # no file of this process can be larger
    try:
        bound(log, 8)
    finally:
        setrlimit(RLIMIT_FSIZE, (soft, hard))
    assert [(file.name, file.stat().st_size) for file in tmp_path.iterdir()] == [("log", 0)]


def test_a_log_within_the_limit_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"short")
    bound(log, 5)
    bound(tmp_path / "none" / "log", 5)
    assert log.read_bytes() == b"short"
    assert not (tmp_path / "log.1").exists()


def test_the_logs_of_instances_load_balancer_and_keeper_are_bounded(tmp_path: Path) -> None:
    logs = [tmp_path / part / "log" for part in ("instances/runtime-v1-1", "haproxy", "keeper")]
    for log in logs:
        log.parent.mkdir(parents=True)
        log.write_bytes(b"x" * 100)

    async def one_look() -> None:
        bounding = asyncio.create_task(keep_bounded(tmp_path, limit=10))
        await asyncio.sleep(0)
        bounding.cancel()

    asyncio.run(one_look())
    assert [log.stat().st_size for log in logs] == [0, 0, 0]


def test_only_the_newest_folders_of_ended_instances_stay(tmp_path: Path) -> None:
    names = [f"runtime-v1-{n}" for n in range(1, 7)]
    for age, name in enumerate([*names, "edge-v1-1"]):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (age, age))
    (tmp_path / names[0] / "instance.json").touch()  # it runs
    prune(tmp_path, "runtime", 2, busy={names[1]})
    left = {folder.name for folder in tmp_path.iterdir()}
    assert left == {names[0], names[1], names[4], names[5], "edge-v1-1"}
