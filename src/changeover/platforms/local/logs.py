"""The logs that processes of a chain append to: bounded in size, and bounded in number once an instance has ended."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

LOG_LIMIT = 10_000_000
"""Bytes of a log before it is moved to `log.1`: with its predecessor it shows hours of a server that reports errors,
and a hundred instances take 2 GB at most."""
LOOK = 30.0
"""Seconds between two looks at the logs: a process that writes 10 MB/s fills 300 MB in between."""
_RECORD = "instance.json"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


async def keep_bounded(state: Path, limit: int = LOG_LIMIT, look: float = LOOK) -> None:
    """Bound every log of the chain in that state folder, until this is cancelled."""
    while True:
        for log in _logs(state):
            with contextlib.suppress(OSError):  # its instance has ended, or the disk is full: the next look is soon
                bound(log, limit)
        await asyncio.sleep(look)


def _logs(state: Path) -> Iterator[Path]:
    yield from (state / "instances").glob("*/log")
    yield from (state / "haproxy" / "log", state / "keeper" / "log")


def bound(log: Path, limit: int) -> None:
    """Keep the last `limit` bytes of a larger log as `log.1`, and empty the log. Raises OSError.

    Every process opens its log for appending, so it goes on at the new end. Lines that it writes between the copy and
    the cut are lost. On a full disk the log is emptied without a copy: it may be what fills the disk.
    """
    if not log.exists() or (size := log.stat().st_size) <= limit:
        return
    copy = log.with_name("log.1")
    try:
        with log.open("rb") as source, copy.open("wb") as target:
            source.seek(size - limit)
            shutil.copyfileobj(source, target)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        copy.unlink(missing_ok=True)
    os.truncate(log, 0)


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
