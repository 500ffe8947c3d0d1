"""Limit the rate of an upload by reading its bodies slowly. A faster client waits; it is not refused."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

from changeover.uploads.core.active_requests import BodyPieces

BURST = 0.1
"""Seconds' worth of bytes that may arrive at once after a slower period."""


class RateLimit:
    """The rate of one upload. Concurrent requests for it share one."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._due = 0.0

    def wait(self, size: int, now: float) -> float:
        """Seconds to wait after a piece of `size` bytes before the next one is read."""
        self._due = max(self._due, now - BURST) + size / self._rate
        return max(0.0, self._due - now)


class RateLimitedBody:
    """A body at that rate. During a wait nothing is read, so that TCP slows down the client."""

    def __init__(self, body: BodyPieces, limit: RateLimit) -> None:
        self._body = body
        self._limit = limit
        self._size = 0

    def __aiter__(self) -> RateLimitedBody:
        return self

    async def __anext__(self) -> bytes:
        if self._size:
            await asyncio.sleep(self._limit.wait(self._size, asyncio.get_running_loop().time()))
            self._size = 0
        piece = await anext(self._body)
        self._size = len(piece)
        return piece


class RateLimits:
    """The rate limits of all uploads of a process. `rate` in bytes per second; None: no limit."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._limits: WeakValueDictionary[str, RateLimit] = WeakValueDictionary()

    def limited(self, id: str, body: BodyPieces) -> BodyPieces:
        """The body of a request for that upload, at its rate."""
        if self._rate is None:
            return body
        limit = self._limits.get(id) or RateLimit(self._rate)
        self._limits[id] = limit
        return RateLimitedBody(body, limit)
