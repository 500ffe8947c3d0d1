"""The body of a request as it comes off its connection, framed by a length or by chunks.

The bytes of a body do not pass the transport: they go from the socket into one buffer, and from there to the store. The
socket is read when the store asks for more, so a store that is slower than the client holds the client up, and an
upload in flight holds no memory. Refuses to read past the end of a body of known length.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from dataclasses import dataclass

from changeover.http1.chunked import BadChunk, Chunks
from changeover.http1.head import RequestHead
from changeover.uploads.core.errors import BadRequest, ClientDisconnected

BUFFER = 1024 * 1024
"""Bytes that are taken from a connection at once: the file system does better with few large writes than with many."""
SHARED = memoryview(bytearray(BUFFER))
"""One buffer for all connections: what is read is written before anything else happens."""
TURN = 4 * 1024 * 1024
"""Bytes of one body after which other connections get their turn, however fast its client is."""
CHUNKS = 256 * 1024
"""Bytes of chunks that are decoded at once (measured: more falls out of the processor's cache)."""
LARGE = 128 * 1024
"""Bytes left of a chunk that are read without decoding."""


@dataclass(frozen=True)
class ReceiveTiming:
    """Seconds."""

    head: float = 30.0
    """A client has for a head, and until the first byte of its connection."""
    idle: float = 75.0
    """A connection may idle between two requests. Longer than the pools of the proxies in front (60 s is common), so
    that they close first: a server that does so sooner or later does it just as a request comes in, which is a 502."""
    body: float = 120.0
    """Without a byte of a body, after which its client counts as gone. What came is kept."""
    write: float = 60.0
    """Without a byte of a response taken, after which the client counts as gone, as nginx's `send_timeout`."""
    linger: float = 5.0
    """A client that is still sending has to see why it was refused."""
    leaving: float = 10.0
    """Replaces `body` and `write` during a shutdown: a client that moves no byte must not hold it up."""
    grace: float = 600.0
    """A shutdown takes at most this long; then the remaining connections are closed. A plain upload of 50 MB takes 400
    at 1 Mb/s, and its client cannot resume it."""


class RequestBody:
    """Iterates over the content. A piece is good until its reader waits for anything.

    Raises ClientDisconnected, and BadRequest where the chunks are malformed. `received`: what came along with the head.
    """

    def __init__(self, head: RequestHead, received: bytes, transport: asyncio.Transport, timeout: float) -> None:
        self.rest = b""
        """What came after the end of the body: the next request."""
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._timeout = timeout
        self._expects = head.expects
        self._chunks = Chunks() if head.chunked else None
        self._left = head.length or 0
        self._ended = not head.has_body
        self._pieces: deque[bytes | memoryview] = deque()
        self._failure: BaseException | None = None
        self._socket: socket.socket | None = None
        """A descriptor of its own for the same connection: the loop watches none that has a transport."""
        self._watched = False
        self._turn = 0
        self._waiter: asyncio.Future[None] | None = None
        self._waiting_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._take(received)

    @property
    def peer(self) -> str:
        """Address of the other end of the connection: of a proxy, if there is one."""
        return str(self._transport.get_extra_info("peername", ("",))[0])

    @property
    def consumed(self) -> bool:
        """Whether the next byte of the connection belongs to the next request."""
        return self._ended and not self._pieces

    def lose(self) -> None:
        """The client is gone."""
        self._fail(ClientDisconnected())

    def hurry(self, timeout: float) -> None:
        """Wait for the client no longer than that from its last byte on."""
        self._timeout = min(self._timeout, timeout)
        if self._timer is not None:
            self._timer.cancel()
            self._look_at_time()

    def close(self) -> None:
        """No more of it is read."""
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            self._unwatch()
            self._socket.close()
            self._socket = None

    def __aiter__(self) -> RequestBody:
        return self

    async def __anext__(self) -> bytes | memoryview:
        if self._turn >= TURN:
            self._turn = 0
            await asyncio.sleep(0)
        while not self._pieces:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                raise StopAsyncIteration
            if (piece := self._receive()) is None:
                self._send_continue()
                await self._wait()
            elif piece:
                return piece
        return self._pieces.popleft()

    def _send_continue(self) -> None:
        """RFC 9110, section 10.1.1: a client that waits learns once that its body is wanted."""
        if self._expects:
            self._expects = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # -- bytes off the socket ----------------------------------------------------------------------------------------

    def _receive(self) -> bytes | memoryview | None:
        """Content, if that is what came; None when no byte is here. Raises ClientDisconnected."""
        chunks = self._chunks
        if chunks is None or chunks.left >= LARGE:
            left = self._left if chunks is None else chunks.left
            if not (size := self._read(min(left, BUFFER))):
                return None
            if chunks is None:
                self._left -= size
                self._ended = not self._left
            else:
                chunks.skip(size)
            return SHARED[:size]
        if not (size := self._read(CHUNKS)):
            return None
        self._take(bytes(SHARED[:size]))
        return b""

    def _read(self, most: int) -> int:
        """Bytes that are in the buffer now; 0 when none is here. Raises ClientDisconnected."""
        if self._socket is None:
            self._socket = socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno()))
        try:
            size = self._socket.recv_into(SHARED, most)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            raise ClientDisconnected from None
        if not size:
            raise ClientDisconnected
        self._expects = False
        self._turn += size
        return size

    def _take(self, data: bytes) -> None:
        """Bytes of the connection, the first of which are the body's."""
        if self._ended or not data:
            self.rest = data
            return
        self._expects = False
        if self._chunks is None:
            piece, self.rest = data[: self._left], data[self._left :]
            self._pieces.append(piece)
            self._left -= len(piece)
            self._ended = not self._left
            return
        try:
            pieces, used = self._chunks.feed(data)
        except BadChunk as error:
            self._fail(BadRequest(f"the body is not chunked as it should be: {error}"))
            return
        if pieces:
            self._pieces.append(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        self.rest = data[used:]
        self._ended = self._chunks.ended

    # -- waiting -----------------------------------------------------------------------------------------------------

    async def _wait(self) -> None:
        assert self._socket is not None
        self._waiter = self._loop.create_future()
        self._waiting_since = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout, self._look_at_time)
        if not self._watched:
            self._watched = True
            self._loop.add_reader(self._socket, self._readable)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _readable(self) -> None:
        if self._waiter is None:
            self._unwatch()  # nothing more is wanted just now, and there is more
        else:
            self._wake()

    def _unwatch(self) -> None:
        if self._watched and self._socket is not None:
            self._watched = False
            self._loop.remove_reader(self._socket)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, failure: BaseException) -> None:
        self._failure = failure
        self._wake()

    def _look_at_time(self) -> None:
        """One timer for all waits: one for each would cost more than the rest of the wait."""
        self._timer = None
        if self._waiter is None:
            return
        left = self._waiting_since + self._timeout - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look_at_time)
        else:
            self.lose()
