"""The clock of a controller or a probe run: wall time at the start, then monotonic, so that it never jumps."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def utc(at: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, with milliseconds: `2026-11-29T06:44:19.123Z`."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Clock:
    """Seconds since the epoch at the start, plus the monotonic time since then.

    `not_before` is the latest time on record (the journal's last entry). If the wall clock was set back since then,
    the clock starts there, so that new entries never precede recorded ones.
    """

    def __init__(self, not_before: float = 0.0) -> None:
        self._start = max(time.time(), not_before)
        self._monotonic = time.monotonic()

    def now(self) -> float:
        return self._start + time.monotonic() - self._monotonic
