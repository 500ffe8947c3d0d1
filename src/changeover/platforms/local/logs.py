"""The logs that processes of a chain append to: bounded in size, and bounded in number once an instance has ended.

The keeper bounds them, and so does each command that stays with a rollout: a chain may have no keeper.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from changeover.platforms.local.log_times import GrowthRecorder, times_of

LOG_LIMIT = 10_000_000
"""Bytes of a log before it is moved to `log.1`: with its predecessor it shows hours of a server that reports errors,
and a hundred instances take 2 GB at most."""
LOOK = 30.0
"""Seconds between two looks at the logs: a process that writes 10 MB/s fills 300 MB in between."""
GROWTH_LOOK = 0.5
"""Seconds between two looks whether logs grew: as exactly is known when a line without a time was written."""
DETACHED = "roll.log"
"""Output of the last detached command, in the state folder."""
_RECORD = "instance.json"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@asynccontextmanager
async def bounded(state: Path, limit: int = LOG_LIMIT, look: float = LOOK) -> AsyncIterator[None]:
    """Bound every log of the chain in that state folder while the block runs, and record when each grows."""
    growth = GrowthRecorder()
    tasks = [
        asyncio.create_task(_repeat(look, partial(_bound_all, state, limit))),
        asyncio.create_task(_repeat(GROWTH_LOOK, lambda: growth.look(_logs(state)))),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


async def _repeat(look: float, work: Callable[[], None]) -> None:
    while True:
        await asyncio.to_thread(work)  # a slow disk holds up no drain
        await asyncio.sleep(look)


def _bound_all(state: Path, limit: int) -> None:
    for log in _logs(state):
        with contextlib.suppress(OSError):  # its instance has ended, or the disk is full: the next look is soon
            bound(log, limit)


def _logs(state: Path) -> Iterator[Path]:
    yield from (state / "instances").glob("*/log")
    yield from (state / "haproxy" / "log", state / "keeper" / "log", state / DETACHED)


def bound(log: Path, limit: int) -> None:
    """Keep the last `limit` bytes of a larger log beside it, as `log.1`, and empty the log. Raises OSError.

    Every process opens its log for appending, so it goes on at the new end. Lines that it writes between the copy and
    the cut are lost. Where there is no room for a copy, nothing is kept: the log may be what fills the disk.
    """
    if not log.exists() or log.stat().st_size <= limit:
        return
    with log.open("r+b") as source:
        try:
            fcntl.flock(source, fcntl.LOCK_EX | fcntl.LOCK_NB)  # keeper and command would both copy, and both cut
        except BlockingIOError:
            return
        if (size := os.fstat(source.fileno()).st_size) > limit:
            source.seek(size - limit)
            _keep(source, log.with_name(f"{log.name}.1"))
            source.truncate(0)
            times_of(log).unlink(missing_ok=True)


def _keep(source: BinaryIO, kept: Path) -> None:
    """Replace `kept` as a whole, because a reader may have it open."""
    copy = kept.with_suffix(".new")
    try:
        with copy.open("wb") as target:
            shutil.copyfileobj(source, target)
        copy.replace(kept)
    except OSError as error:
        copy.unlink(missing_ok=True)
        if error.errno not in _NO_ROOM:
            raise
        kept.unlink(missing_ok=True)


def prune(instances: Path, tier: str, keep: int, busy: Collection[str]) -> None:
    """Delete the folders of ended instances of a tier, except the newest `keep`. `busy`: those being created."""
    ended = [
        folder
        for folder in instances.glob(f"{tier}-*")
        if folder.name not in busy and not (folder / _RECORD).exists() and folder.is_dir()
    ]
    ended.sort(key=lambda folder: folder.stat().st_mtime)
    for folder in ended[: max(0, len(ended) - keep)]:
        shutil.rmtree(folder, ignore_errors=True)
