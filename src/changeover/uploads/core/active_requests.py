"""Requests of this process that receive a body, and how a newer request interrupts an older one.

An interrupted request stops reading, commits what it has, and ends. So a client that reconnects never waits for a
connection that is long dead.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from changeover.uploads.core.errors import RetryLater
from changeover.uploads.core.metrics import UploadMetrics

BodyPieces = AsyncIterator[bytes]
"""The content of a request, piece by piece. Raises ClientDisconnected if the client disconnects before its end."""


class ActiveRequest:
    """One request of this process that receives a body."""

    def __init__(self, *, resumable: bool) -> None:
        self.resumable = resumable
        """Whether the client can continue at another instance. If not, a shutdown waits for the request."""
        self.replaces = False
        """Whether an older request had to end first; the record may have changed meanwhile."""
        self.interrupted = False
        self.ended = asyncio.Event()
        self._task = asyncio.current_task()
        self._reading = False

    def interrupt(self) -> None:
        """Make the request stop reading and end."""
        if self._reading and not self.interrupted and self._task is not None:
            self._task.cancel()
        self.interrupted = True

    async def read(self, body: BodyPieces) -> bytes | None:
        """The next piece; None at the end. Raises CancelledError when the request is interrupted."""
        if self.interrupted:
            raise asyncio.CancelledError
        self._reading = True
        try:
            return await anext(body, None)
        finally:
            self._reading = False

    def absorb_cancellation(self) -> bool:
        """Whether a CancelledError came from `interrupt`. If so, the task goes on."""
        if self.interrupted and self._task is not None:
            self._task.uncancel()
        return self.interrupted


class ActiveRequests:
    """The active requests of this process, at most one for each upload (or part of one)."""

    def __init__(self, metrics: UploadMetrics, interrupt_timeout: float) -> None:
        self.leaving = False
        """Whether this instance shuts down and takes no new request."""
        self._metrics = metrics
        self._timeout = interrupt_timeout
        self._requests: dict[str, ActiveRequest] = {}

    def check_staying(self) -> None:
        """Raises RetryLater when this instance shuts down."""
        if self.leaving:
            raise RetryLater("this instance is shutting down")

    @asynccontextmanager
    async def begun(self, key: str, *, resumable: bool) -> AsyncIterator[ActiveRequest]:
        """Register a request for the block, after an older one with that key has ended. The caller has checked that
        the upload belongs to the owner of this request: a stranger must not interrupt the older one.

        Raises RetryLater when this instance shuts down and the client can continue at another one.
        """
        replaces = await self.interrupt(key)
        if resumable:
            self.check_staying()
        request = self._requests[key] = ActiveRequest(resumable=resumable)
        request.replaces = replaces
        try:
            yield request
        finally:
            self._end(key, request)

    def _end(self, key: str, request: ActiveRequest) -> None:
        if self._requests.get(key) is request:
            del self._requests[key]
        request.ended.set()

    async def interrupt(self, key: str) -> bool:
        """Interrupt the request with that key and wait for its end; whether there was one. One that does not end is
        forgotten: the epoch of the manifest fences it out."""
        had_one = False
        while (request := self._requests.get(key)) is not None:
            had_one = True
            if not request.interrupted:
                self._metrics.takeovers.labels("in_process").inc()
            request.interrupt()
            try:
                async with asyncio.timeout(self._timeout):
                    await request.ended.wait()
            except TimeoutError:
                self._end(key, request)
        return had_one

    async def leave(self) -> None:
        """Take no new requests, and interrupt those whose client can continue at another instance."""
        self.leaving = True
        requests = [request for request in self._requests.values() if request.resumable]
        for request in requests:
            request.interrupt()
        with contextlib.suppress(TimeoutError):  # the store may hang
            async with asyncio.timeout(self._timeout):
                for request in requests:
                    await request.ended.wait()
