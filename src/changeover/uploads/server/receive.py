"""A server that speaks the upload dialects and nothing else: the library without ASGI in the path of the bytes.

Heads go through httptools; the bytes of a body of known length go from the socket into a buffer and from there to the
store, past any parser and any queue. Bodies in chunks go through httptools too. The engine, the stores and the dialects
are those of the ASGI application.

Refuses HTTP/2, TLS and pipelining beyond one request: it stands behind a proxy that has them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections import deque
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import cast

import httptools
import prometheus_client

from changeover.uploads.core.engine import Engine
from changeover.uploads.core.errors import ClientDisconnected, UploadError
from changeover.uploads.dialects.http import HttpRequest, HttpResponse, phrase, problem, refusal
from changeover.uploads.server.asgi import dispatch

_LOG = logging.getLogger(__name__)

BUFFER = 1024 * 1024
"""Bytes that are taken from a connection at once: the file system does better with few large writes than with many."""
_BUFFER = memoryview(bytearray(BUFFER))
"""One for all: what is read is written before anything else happens. So an upload in flight costs none."""
TURN = 4 * 1024 * 1024
"""Bytes of one body after which others get their turn, however fast its client is."""
HEAD = 64 * 1024
"""Bytes of a request's head; more is refused."""
HEAD_TIME = 30.0
"""Seconds a client has for a head, and a connection may idle."""
BODY_TIME = 120.0
"""Seconds without a byte of a body after which its client counts as gone. What came is kept."""
LINGER = 5.0
"""Seconds a client that is still sending has to see that it was refused."""


class Receiver:
    """Listens at one address. `async with` it; leaves politely at the end."""

    def __init__(self, engine: Engine, host: str, port: int, *, root: str = "/files") -> None:
        self.engine = engine
        self.root = root
        self.connections: set[_Connection] = set()
        self._host, self._port = host, port
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Receiver:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), self._host, self._port, backlog=2048)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()

    async def leave(self) -> None:
        """Take nothing new, send on whose client can go on elsewhere, finish the rest; returns when nobody is left
        and the application has answered, and its listener heard, everything."""
        assert self._server is not None
        self._server.close()
        await self.engine.leave()
        for connection in list(self.connections):
            connection.leave()
        while self.connections:
            await asyncio.wait([asyncio.ensure_future(c.closed.wait()) for c in self.connections])
        await self.engine.completion.wait_until_idle()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port


class _Connection(asyncio.BufferedProtocol):
    """One connection: a head, its body, the answer, the next head."""

    def __init__(self, receiver: Receiver) -> None:
        self.closed = asyncio.Event()
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._writable = asyncio.Event()
        self._writable.set()
        self._timer: asyncio.TimerHandle | None = None
        self._last = False
        self._discards = False

    # -- asyncio's side ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._receiver.connections.add(self)
        self._wait_for_head()

    def get_buffer(self, sizehint: int) -> memoryview:
        return _BUFFER[:HEAD]

    def buffer_updated(self, nbytes: int) -> None:
        if self._discards:
            return
        self._feed(bytes(_BUFFER[:nbytes]))

    def connection_lost(self, exc: Exception | None) -> None:
        self._receiver.connections.discard(self)
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
        """Close after the answer that is under way, or now."""
        self._last = True
        if self._body is None:
            self.transport.close()

    # -- heads -------------------------------------------------------------------------------------------------------

    def _wait_for_head(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._size, self._target = 0, b""
        self._headers: dict[str, str] = {}
        self._body: _Body | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(HEAD_TIME, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self._body is not None and self._body.ended:
                self._last = True  # a second request before the answer to the first: it gets none, and may come again
                return
            self._refuse(400, f"this is no request: {error}")
            return
        self._size += len(data)
        if self._body is not None:
            self._body.pass_by_the_parser()
        elif self._size > HEAD:
            self._refuse(431, "the head of this request is too long")

    def _refuse(self, status: int, detail: str) -> None:
        self._stop_timer()
        if self._body is None:
            self._write(problem(status, detail), "", last=True)
            self._close()
        else:
            self._body.lose()
            self.transport.close()

    def on_message_begin(self) -> None:
        if self._body is not None:
            raise httptools.HttpParserError("a second request before the answer to the first")

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.lower().decode("latin-1"), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        self._stop_timer()
        length = None if "transfer-encoding" in self._headers else int(self._headers.get("content-length", "0"))
        expects = self._headers.get("expect", "").lower() == "100-continue"
        self._body = _Body(self.transport, length, expects)
        self._task = self._loop.create_task(self._answer(self._parser.get_method().decode(), self._body))

    def on_body(self, data: bytes) -> None:
        assert self._body is not None
        self._body.give(data)

    def on_message_complete(self) -> None:
        assert self._body is not None
        self._body.end()

    # -- answers -----------------------------------------------------------------------------------------------------

    async def _answer(self, method: str, body: _Body) -> None:
        try:
            response = await self._respond(method, body)
        except ClientDisconnected:
            self.transport.close()
            return
        finally:
            body.close()
        # A body that was not read to its end cannot be told from the next head.
        last = self._last or self._headers.get("connection", "").lower() == "close" or not body.consumed
        self._write(response, method, last=last)
        if response.stream is not None and method != "HEAD":
            async for piece in response.stream:
                self.transport.write(piece)
                await self._writable.wait()
        if last:
            self._close()
        else:
            self._wait_for_head()
            self.transport.resume_reading()

    async def _respond(self, method: str, body: _Body) -> HttpResponse:
        engine, root = self._receiver.engine, self._receiver.root
        path, _, query = self._target.decode("latin-1").partition("?")
        if path == "/metrics" and method == "GET":
            kind = ("Content-Type", prometheus_client.CONTENT_TYPE_LATEST)
            return HttpResponse(200, (kind,), prometheus_client.generate_latest())
        if path != root and not path.startswith(root + "/"):
            return problem(404, f"uploads are at {root}")
        try:
            content = cast("AsyncIterator[bytes]", body)
            return await dispatch(
                engine, HttpRequest(method, root, path[len(root) :], query, self._headers, content, "")
            )
        except UploadError as error:
            return refusal(error)
        except ClientDisconnected:
            raise
        except Exception:  # otherwise its client would wait for an answer for ever
            _LOG.exception("%s %s could not be answered", method, path)
            return problem(500, "this server failed; its log says how")

    def _write(self, response: HttpResponse, method: str, *, last: bool) -> None:
        lines = [f"HTTP/1.1 {response.status} {phrase(response.status)}"]
        lines += [f"{name}: {value}" for name, value in response.headers]
        if response.status != 204 and not any(name.lower() == "content-length" for name, _ in response.headers):
            lines.append(f"Content-Length: {len(response.body)}")
        lines.append(f"Date: {formatdate(usegmt=True)}")
        if last:
            lines.append("Connection: close")
        head = "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n"
        self.transport.write(head if method == "HEAD" else head + response.body)

    def _close(self) -> None:
        """Say that no more comes, and listen a while to what still does: closing at once would reset the connection
        under a client that is sending, and take the answer away from it (RFC 9112, section 9.6)."""
        self._discards, self._body = True, None
        if self.transport.is_closing():
            return
        with contextlib.suppress(OSError):  # the client is gone already
            self.transport.write_eof()
        self.transport.resume_reading()
        self._timer = self._loop.call_later(LINGER, self.transport.abort)


class _Body:
    """What comes after a head, piece by piece. A piece is good until whoever asked for it waits for anything."""

    def __init__(self, transport: asyncio.Transport, length: int | None, expects: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._left = length
        self._expects = expects
        self._given: deque[bytes] = deque()
        self._socket: socket.socket | None = None
        """From here on bytes come past the parser and the transport. A descriptor of its own for the same connection:
        the loop lets nobody watch one that has a transport."""
        self._watched = False
        self._turn = 0
        self._ended = length == 0
        self._lost = False
        self._waiter: asyncio.Future[None] | None = None
        self._waiting_since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def ended(self) -> bool:
        """Whether all of it has come."""
        return self._ended

    @property
    def consumed(self) -> bool:
        """Whether nothing of it is left on the wire or in here."""
        return self._ended and not self._given

    # -- from the connection -----------------------------------------------------------------------------------------

    def give(self, data: bytes) -> None:
        """Bytes that came through the parser."""
        if self._left is not None:
            self._left -= len(data)
        self._given.append(data)
        self._wake()

    def end(self) -> None:
        self._ended = True
        self._transport.pause_reading()  # what comes next belongs to the next request
        self._wake()

    def lose(self) -> None:
        """The client is gone."""
        self._lost = True
        self._wake()

    def pass_by_the_parser(self) -> None:
        """After what came with the head."""
        if self._left and self._socket is None:
            self._transport.pause_reading()
            self._socket = socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno()))

    def close(self) -> None:
        """Nothing more of it will be asked for."""
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            self._unwatch()
            self._socket.close()
            self._socket = None

    # -- to the engine -----------------------------------------------------------------------------------------------

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes | memoryview:
        if self._turn >= TURN:
            self._turn = 0
            await asyncio.sleep(0)
        while not self._given:
            if self._lost:
                raise ClientDisconnected
            if self._ended:
                raise StopAsyncIteration
            if self._socket is not None and (size := self._receive(self._socket)):
                self._expects = False
                return _BUFFER[:size]
            if self._expects:
                self._expects = False
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await self._wait()
        self._expects = False
        return self._given.popleft()

    def _receive(self, source: socket.socket) -> int:
        """Bytes that are in the buffer now; 0: there are none yet. Raises ClientGone."""
        assert self._left is not None
        try:
            size = source.recv_into(_BUFFER, min(self._left, BUFFER))
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            raise ClientDisconnected from None
        if not size:
            raise ClientDisconnected
        self._left -= size
        self._turn += size
        self._ended = not self._left
        return size

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        self._waiting_since = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(BODY_TIME, self._look_at_time)
        if self._socket is not None and not self._watched:
            self._watched = True
            self._loop.add_reader(self._socket, self._readable)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _readable(self) -> None:
        if self._waiter is None:
            self._unwatch()  # nobody wants more just now, and there is more
        else:
            self._wake()

    def _unwatch(self) -> None:
        if self._watched and self._socket is not None:
            self._watched = False
            self._loop.remove_reader(self._socket)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _look_at_time(self) -> None:
        """One timer for all waits: one for each would cost more than the rest of the wait."""
        self._timer = None
        if self._waiter is None:
            return
        left = self._waiting_since + BODY_TIME - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look_at_time)
        else:
            self.lose()
