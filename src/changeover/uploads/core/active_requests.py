"""Requests of this process that append to an upload, and how one is broken off for another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

RequestBody = AsyncIterator[bytes]
"""A request's content, piece by piece. Raises ClientDisconnected when the client hung up before its end."""


class ActiveRequest:
    """One request of this process that appends to an upload."""

    def __init__(self, *, resumable: bool = True) -> None:
        self.resumable = resumable
        """Its client can go on elsewhere; otherwise it is left alone when this instance leaves."""
        self.task = asyncio.current_task()
        self.reading = False
        self.broken_off = False
        self.over = asyncio.Event()

    def break_off(self) -> None:
        """Make it stop reading, keep what it has, and let go."""
        if self.reading and not self.broken_off and self.task is not None:
            self.task.cancel()
        self.broken_off = True

    async def read(self, body: RequestBody) -> bytes | None:
        """The next piece; None at the end. Raises CancelledError when it is to break off."""
        if self.broken_off:
            raise asyncio.CancelledError
        self.reading = True
        try:
            return await anext(body, None)
        finally:
            self.reading = False

    def uncancelled(self) -> bool:
        """Whether a CancelledError meant no more than this: that it is to break off. The task then goes on."""
        if self.broken_off and self.task is not None:
            self.task.uncancel()
        return self.broken_off
