"""Waits for the exit of processes that are no children of this one, without polling: pidfd_open(2), since Linux 5.3."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable

from changeover.kit import process


async def until_one(processes: Iterable[tuple[int, int]], seconds: float) -> None:
    """Return when one of these (pid, start time) exits, and after so many seconds at the latest.

    A process that has exited already ends no wait: others of its session may run on, and the caller would spin.
    """
    loop, exited = asyncio.get_running_loop(), asyncio.Event()
    with contextlib.ExitStack() as stack:
        for pid, start in processes:
            try:
                descriptor = os.pidfd_open(pid)
            except OSError:  # it is gone, or this kernel has no such descriptors
                continue
            stack.callback(os.close, descriptor)
            if process.start_time(pid) == start:
                loop.add_reader(descriptor, exited.set)
                stack.callback(loop.remove_reader, descriptor)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await exited.wait()
