"""The one clock of a controller: it starts at wall time and from there only counts, so that it never jumps."""

from __future__ import annotations

import time


class Clock:
    """Seconds since the epoch at the start, plus the monotonic time since then. Never goes back, never leaps.

    `not_before`: a time that has already been written down (the journal's last); a wall clock that was set back
    meanwhile must not make the past longer than it was.
    """

    def __init__(self, not_before: float = 0.0) -> None:
        self._start = max(time.time(), not_before)
        self._monotonic = time.monotonic()

    def now(self) -> float:
        return self._start + time.monotonic() - self._monotonic
