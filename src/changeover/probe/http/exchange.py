"""One request and its response on an open connection, and one phrase for a failure.

The response decides the outcome. The exchange reads while it sends: an early 502 or 413 counts as that status, not as
the reset that often follows. After a failed write it still reads, because the kernel may hold bytes that the peer sent
before it closed. Refuses to connect and to retry: `client` owns the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

import h11

from changeover.probe.http.stream import ConnectionFailed, Stream

_LAST_WRITE = 1.0
"""Seconds after a good response in which the rest of the body may go out. A server that answers earlier ignored it."""
Sink = Callable[[bytes | bytearray], object]
"""Receives the pieces of a response body."""
HttpHeaders = Mapping[str, str]
"""Headers of a response by their names in lower case; of a repeated one the last."""
Accept = Callable[[HttpHeaders], bool]
"""Receives the headers; returns whether to read the body."""


@dataclass(frozen=True)
class HttpRequest:
    """`body` without `size` goes out chunked. `close` requests that the server close the connection.

    `status`: statuses of a good response; empty: any 2xx.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: AsyncGenerator[bytes, None] | None = None
    size: int | None = None
    close: bool = False
    status: tuple[int, ...] = ()
    sink: Sink | None = None
    accept: Accept | None = None

    def is_good(self, status: int) -> bool:
        return status in self.status if self.status else 200 <= status < 300

    def head(self, authority: str) -> h11.Request:
        headers = list(self.headers)
        if not any(name.lower() == "host" for name, _ in headers):
            headers.insert(0, ("Host", authority))
        if self.close:
            headers.append(("Connection", "close"))
        if self.size is not None:
            headers.append(("Content-Length", str(self.size)))
        elif self.body is not None:
            headers.append(("Transfer-Encoding", "chunked"))
        return h11.Request(method=self.method, target=self.path, headers=headers)


@dataclass(frozen=True)
class HttpResponse:
    """The result of a request. `reason` is None for a complete response of a good status and for an `abandoned` one."""

    reason: str | None
    status: int | None
    headers: HttpHeaders
    bytes_sent: int
    bytes_received: int
    reused: bool | None
    """Whether the connection had carried a request before; None when the connect failed."""
    abandoned: bool
    """Whether the body was left unread because `accept` refused it."""


class HttpExchange:
    """Runs once. `response` returns what is known so far at any time, also after a cancellation."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._status: int | None = None
        self._headers: HttpHeaders = {}
        self._sent = 0
        self._received = 0
        self._all_sent = False
        self._send_failed = False
        self._response_began = False
        self.abandoned = False

    def response(self, reason: str | None, *, reused: bool | None) -> HttpResponse:
        return HttpResponse(
            reason,
            self._status,
            self._headers,
            self._sent,
            self._received,
            reused=reused,
            abandoned=self.abandoned,
        )

    async def run(
        self, stream: Stream, http: h11.Connection, authority: str, progressed: Callable[[], None]
    ) -> str | None:
        """Why there is no good response, or None. Calls `progressed` after each transfer in either direction."""
        head = http.send(self._request.head(authority)) or b""
        if self._request.body is None:
            http.send(h11.EndOfMessage())
            await self._send_head(stream, head)
            self._all_sent = True
            return await self._receive(stream, http, progressed)
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(self._send(stream, http, head, self._request.body, progressed))
            reason = await self._receive(stream, http, progressed)
            if reason is None:  # the response may be read before the last write is noticed
                await asyncio.wait({sending}, timeout=_LAST_WRITE)
            sending.cancel()
        return reason

    async def _send_head(self, stream: Stream, head: bytes) -> None:
        try:
            await stream.send(head)
        except ConnectionFailed:
            self._send_failed = True

    async def _send(
        self,
        stream: Stream,
        http: h11.Connection,
        head: bytes,
        body: AsyncGenerator[bytes, None],
        progressed: Callable[[], None],
    ) -> None:
        try:
            await stream.send(head)
            async with aclosing(body) as pieces:
                async for piece in pieces:
                    await stream.send(http.send(h11.Data(piece)) or b"")
                    self._sent += len(piece)
                    progressed()
            await stream.send(http.send(h11.EndOfMessage()) or b"")
            self._all_sent = True
        except ConnectionFailed:
            self._send_failed = True

    async def _receive(self, stream: Stream, http: h11.Connection, progressed: Callable[[], None]) -> str | None:
        ended = False
        try:
            while True:
                event = http.next_event()
                if event is h11.NEED_DATA:
                    data = await stream.receive()
                    self._response_began = self._response_began or bool(data)
                    ended = not data
                    http.receive_data(data)
                    progressed()
                elif isinstance(event, h11.Response):
                    self._read_head(event)
                    if not self._request.is_good(event.status_code):
                        return f"status {event.status_code}"
                    if self._request.accept and not self._request.accept(self._headers):
                        self.abandoned = True
                        return None
                elif isinstance(event, h11.Data):
                    self._received += len(event.data)
                    if self._request.sink:
                        self._request.sink(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    return None
        except ConnectionFailed as error:
            return f"{'reset' if self._send_failed else error} {self._phase()}"
        except h11.RemoteProtocolError:
            return self._ended_early() if ended else "bad response"

    def _read_head(self, head: h11.Response) -> None:
        self._status = head.status_code
        self._headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}

    def _ended_early(self) -> str:
        if self._status is not None:
            return "short body"
        return f"{'reset' if self._send_failed else 'closed'} {self._phase()}"

    def _phase(self) -> str:
        if self._response_began:
            return "during response"
        return "before response" if self._all_sent else "while sending"
