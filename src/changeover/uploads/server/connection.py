"""One connection of a client: a head, its body, the response, the next head.

Heads pass asyncio's transport, bodies do not (`body.py`). Requests that follow at once are answered in their order. The
connection is closed after a request that is refused, since what follows it belongs to no request. A client that takes
nothing of its response is disconnected, and so is one whose response fails: a part must not look whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import cast

from changeover.http1.head import BadHead, RequestHead, format_response, read_request
from changeover.http1.head_buffer import HeadBuffer
from changeover.uploads.core.errors import ClientDisconnected
from changeover.uploads.dialects.http import DialectResponse, closed_after, problem
from changeover.uploads.server.body import SHARED, ReceiveTiming, RequestBody

_LOG = logging.getLogger(__name__)

HEAD = 64 * 1024
"""Bytes that are read at once while a head is expected."""

Respond = Callable[[RequestHead, RequestBody], Awaitable[DialectResponse]]
"""Answers one request. Raises ClientDisconnected."""


class ReceiverConnection(asyncio.BufferedProtocol):
    """Is in `connections` for as long as it is open."""

    def __init__(self, respond: Respond, connections: set[ReceiverConnection], timing: ReceiveTiming) -> None:
        self.closed = asyncio.Event()
        self._respond = respond
        self._connections = connections
        self._timing = timing
        self._loop = asyncio.get_running_loop()
        self._writable = asyncio.Event()
        self._writable.set()
        self._heads = HeadBuffer()
        self._head_begun = False
        self._body: RequestBody | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._silence = timing.write
        self._stall: asyncio.Timeout | None = None
        self._leaving = False
        self._discards = False

    # -- asyncio's side ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._transport.set_write_buffer_limits(0)  # a response is written when the kernel has all of it
        self._connections.add(self)
        self._start_timer(self._timing.head, self._head_is_late)

    def get_buffer(self, sizehint: int) -> memoryview:
        return SHARED[:HEAD]

    def buffer_updated(self, nbytes: int) -> None:
        if not self._discards:
            self._heads.add(bytes(SHARED[:nbytes]))
            self._look_for_head()

    def eof_received(self) -> bool:
        if self._discards or not self._heads.begun:
            return False
        self._refuse(400, "the connection ended in the middle of a head")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._stop_timer()
        self._writable.set()
        if self._body is not None:
            self._body.lose()
        self.closed.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def leave(self) -> None:
        """Close after the response that is under way, or now."""
        self._leaving = True
        self._silence = min(self._silence, self._timing.leaving)
        if self._stall is not None and not self._stall.expired():
            self._stall.reschedule(self._loop.time() + self._silence)
        if self._body is not None:
            self._body.hurry(self._timing.leaving)
        elif not self._discards:
            self._transport.close()

    def abort(self) -> None:
        """Close now, whatever is under way."""
        self._transport.abort()

    # -- heads -------------------------------------------------------------------------------------------------------

    def _look_for_head(self) -> None:
        try:
            if (text := self._heads.head()) is None:
                if self._heads.begun and not self._head_begun:  # the time of a head begins with its first byte
                    self._head_begun = True
                    self._start_timer(self._timing.head, self._head_is_late)
                return
            head = read_request(text)
        except BadHead as error:
            self._refuse(error.status, str(error))
            return
        self._stop_timer()
        self._transport.pause_reading()
        self._body = RequestBody(head, self._heads.take_rest(), self._transport, self._timing.body)
        self._task = self._loop.create_task(self._answer(head, self._body))

    def _expect_head(self, rest: bytes) -> None:
        self._body, self._head_begun = None, False
        self._start_timer(self._timing.idle, self._head_is_late)
        self._heads.add(rest)
        self._transport.resume_reading()
        self._look_for_head()

    def _head_is_late(self) -> None:
        if self._heads.begun:
            self._refuse(408, "the head of the request did not arrive in time")
        else:
            self._transport.close()

    def _start_timer(self, seconds: float, act: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(seconds, act)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- responses ---------------------------------------------------------------------------------------------------

    async def _answer(self, head: RequestHead, body: RequestBody) -> None:
        keep = None
        try:
            keep = await self._answer_request(head, body)
        except ClientDisconnected:
            pass
        except Exception:  # in the middle of a response
            _LOG.exception("%s %s: the response broke off", head.method.decode(), head.target.decode("latin-1"))
        finally:
            if keep is None:  # also where this task is cancelled
                self._transport.abort()
            elif keep and not self._leaving:  # a shutdown may have begun during the response
                self._expect_head(body.rest)
            else:
                self._close()

    async def _answer_request(self, head: RequestHead, body: RequestBody) -> bool:
        """Whether the connection can carry another request. Raises ClientDisconnected, and what the store raises."""
        try:
            response = await self._respond(head, body)
        finally:
            body.close()
        # The rest of a body that was not read to its end would pass for the next head.
        keep = head.keep_alive and body.consumed and not self._leaving
        option = b"close" if not keep else b"" if head.understands_chunks else b"keep-alive"  # RFC 9112, section 9.3
        self._write(response, option, with_content=head.method != b"HEAD")
        await self._drain()
        if response.stream is not None and head.method != b"HEAD":
            async with closed_after(response.stream) as stream:
                async for piece in stream:
                    self._transport.write(piece)
                    await self._drain()
        return keep

    async def _drain(self) -> None:
        """Wait until the kernel has what was written. Raises ClientDisconnected, also where the client stalls."""
        while not self._writable.is_set():
            left = self._transport.get_write_buffer_size()
            try:
                async with asyncio.timeout(self._silence) as self._stall:
                    await self._writable.wait()
            except TimeoutError:
                if self._transport.get_write_buffer_size() >= left:
                    raise ClientDisconnected from None
            finally:
                self._stall = None
        if self._transport.is_closing():
            raise ClientDisconnected

    def _refuse(self, status: int, detail: str) -> None:
        """Answer what is no request."""
        self._stop_timer()
        self._write(problem(status, detail), b"close")
        self._close()

    def _write(self, response: DialectResponse, connection: bytes, *, with_content: bool = True) -> None:
        fields = [
            (name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in response.headers
        ]
        if response.status != 204 and not any(name.lower() == b"content-length" for name, _ in fields):
            fields.append((b"Content-Length", b"%d" % len(response.body)))
        fields.append((b"Date", formatdate(usegmt=True).encode()))
        if connection:
            fields.append((b"Connection", connection))
        head = format_response(response.status, b"", fields)
        self._transport.write(head + response.body if with_content else head)

    def _close(self) -> None:
        """Say that no more comes, and listen a while to what still does: closing at once would reset the connection
        under a client that is sending, and take the response away from it (RFC 9112, section 9.6)."""
        self._discards, self._body = True, None
        if self._transport.is_closing():
            return
        with contextlib.suppress(OSError):  # the client is gone already
            self._transport.write_eof()
        self._transport.resume_reading()
        self._start_timer(self._timing.linger, self._transport.abort)
