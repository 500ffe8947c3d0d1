"""Bodies that are read no faster than is allowed: whoever sends them faster has to wait, and is not refused."""

from __future__ import annotations

import asyncio

from changeover.uploads.core.active_requests import RequestBody

BURST = 0.1
"""Seconds' worth of bytes that may come at once after a time in which fewer came."""


class RateLimit:
    """How fast one upload may come in. Requests for it that are under way side by side share one."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._due = 0.0

    def wait(self, size: int, now: float) -> float:
        """Seconds until the next piece may be taken, after one of `size` bytes."""
        self._due = max(self._due, now - BURST) + size / self._rate
        return max(0.0, self._due - now)


class RateLimitedBody:
    """A body at that pace. While it waits, nothing is read, and TCP makes the client wait too."""

    def __init__(self, body: RequestBody, pace: RateLimit) -> None:
        self._body = body
        self._pace = pace
        self._taken = 0

    def __aiter__(self) -> RateLimitedBody:
        return self

    async def __anext__(self) -> bytes:
        if self._taken:
            await asyncio.sleep(self._pace.wait(self._taken, asyncio.get_running_loop().time()))
            self._taken = 0
        piece = await anext(self._body)
        self._taken = len(piece)
        return piece
