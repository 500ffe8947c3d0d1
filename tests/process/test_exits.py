"""The exit of a process ends a wait at once; nothing else does before the time is over."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from changeover.kit import exits, process

LONG, SHORT = 60.0, 0.01


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[int, int]]:
    pid, start = process.spawn([sys.executable, "-c", "import signal; signal.pause()"], home=tmp_path, env={})
    yield pid, start
    process.kill_session(pid, start, tmp_path)


async def ends(wait: float, *processes: tuple[int, int], kill: int | None = None) -> None:
    async with asyncio.timeout(LONG / 2):
        waiting = asyncio.create_task(exits.until_one(processes, wait))
        await asyncio.sleep(0)  # it waits from here on
        if kill is not None:
            assert not waiting.done()
            os.kill(kill, signal.SIGKILL)
        await waiting


def test_the_exit_of_a_process_ends_the_wait(running: tuple[int, int]) -> None:
    asyncio.run(ends(LONG, running, kill=running[0]))


def test_a_process_that_runs_is_waited_for_no_longer_than_asked(running: tuple[int, int]) -> None:
    asyncio.run(ends(SHORT, running))
    assert process.is_alive(*running)


async def lasts(one: tuple[int, int]) -> bool:
    waiting = asyncio.create_task(exits.until_one([one], LONG))
    done, _ = await asyncio.wait([waiting], timeout=SHORT)
    waiting.cancel()
    return not done


def test_one_that_has_exited_ends_no_wait(running: tuple[int, int]) -> None:
    """Others of its session may run on, and a caller that it wakes would spin."""
    os.kill(running[0], signal.SIGKILL)
    os.waitid(os.P_PID, running[0], os.WEXITED | os.WNOWAIT)
    assert asyncio.run(lasts(running))


def test_another_process_of_that_number_ends_no_wait(running: tuple[int, int]) -> None:
    pid, start = running
    assert asyncio.run(lasts((pid, start - 1)))
