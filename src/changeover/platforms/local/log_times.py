"""When a log grew, in `log.times` beside it: that places the lines of servers that write no times, such as HAProxy.

Only size and time of the last write are looked at, so a log costs one system call a look. Refuses to guess: a line that
no look saw arrive has no time.
"""

from __future__ import annotations

import contextlib
import time
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

LIMIT = 1_000_000
"""Bytes of the times of one log: as many as a line a second makes in seven hours. Then every second one is dropped."""
_SUFFIX = ".times"


class Growth(NamedTuple):
    """The log grew to `size` bytes after `since`, and its last byte was written at `until`. `since` 0: unknown."""

    size: int
    since: float
    until: float


def times_of(log: Path) -> Path:
    """The file with the times of a log."""
    return log.with_name(log.name + _SUFFIX)


class GrowthRecorder:
    """Records growth between its looks."""

    def __init__(self) -> None:
        self._sizes: dict[Path, int] = {}
        self._before = 0.0

    def look(self, logs: Iterable[Path]) -> None:
        """Look at every log once. One that cannot be read, or has no room for its times, is looked at again."""
        now = time.time()
        for log in logs:
            with contextlib.suppress(OSError):
                self._look_at(log)
        self._before = now

    def _look_at(self, log: Path) -> None:
        try:
            found = log.stat()
        except FileNotFoundError:
            self._sizes.pop(log, None)
            return
        before = self._sizes.get(log, 0)
        if found.st_size == before:
            return
        is_known = log in self._sizes or bool(self._before)  # a log that is new since the last look began empty
        self._sizes[log] = found.st_size
        if found.st_size < before:  # it was emptied
            times_of(log).unlink(missing_ok=True)
        with times_of(log).open("a", encoding="ascii") as file:
            file.write(f"{found.st_size} {self._before if is_known else 0:.3f} {found.st_mtime:.3f}\n")
        if times_of(log).stat().st_size > LIMIT:
            lines = times_of(log).read_text(encoding="ascii").splitlines(keepends=True)
            times_of(log).write_text("".join(lines[1::2]), encoding="ascii")


class LogTimes:
    """What is recorded of one log, with its present size and the time of its last write."""

    def __init__(self, log: Path) -> None:
        found = log.stat()
        self._growth = [Growth(found.st_size, 0.0, found.st_mtime)]
        with contextlib.suppress(OSError, ValueError):
            for line in times_of(log).read_text(encoding="ascii").splitlines():
                size, since, until = line.split()
                self._growth.append(Growth(int(size), float(since), float(until)))
        self._growth.sort(key=lambda one: (one.size, -one.since))

    def of(self, end: int) -> float | None:
        """When the line that ends at that byte was written, within one look; None if no look saw it arrive."""
        number = bisect_left(self._growth, end, key=lambda one: one.size)
        if not end or number == len(self._growth):
            return None
        one = self._growth[number]
        return one.until if one.size == end else one.since or None
