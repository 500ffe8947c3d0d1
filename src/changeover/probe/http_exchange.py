"""One request and its answer on one open connection, and the one phrase for whatever went wrong.

The answer decides. While a body is being sent, the answer is already read for: a 502 or 413 that comes early
is that status, not the reset that often follows it. After a failed write the answer is still waited for,
because what the peer sent before it hung up may lie in the kernel. Refuses to connect and to retry; `client`
owns the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

import h11

from changeover.probe.stream import ConnectionFailed, Stream

Sink = Callable[[bytes | bytearray], object]
"""Takes the pieces of a body as they come."""
Wanted = Callable[[str | None], bool]
"""Told the instance that answers, says whether the body is wanted from there."""


@dataclass(frozen=True)
class HttpRequest:
    """`body` without `size` goes out chunked. `close` asks the server to hang up after its answer."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: AsyncGenerator[bytes, None] | None = None
    size: int | None = None
    close: bool = False
    sink: Sink | None = None
    wanted: Wanted | None = None

    def head(self, authority: str) -> h11.Request:
        headers = [("Host", authority), *self.headers]
        if self.close:
            headers.append(("Connection", "close"))
        if self.size is not None:
            headers.append(("Content-Length", str(self.size)))
        elif self.body is not None:
            headers.append(("Transfer-Encoding", "chunked"))
        return h11.Request(method=self.method, target=self.path, headers=headers)


@dataclass(frozen=True)
class HttpResponse:
    """What became of a request. `reason` None: a complete 2xx answer, or one that was `left` unread."""

    reason: str | None
    status: int | None
    instance: str | None
    version: str | None
    sent: int
    received: int
    reused: bool | None
    """Whether the connection had served before; None where there never was one."""
    left: bool


class HttpExchange:
    """Runs once. What is known so far is in `answer` at any moment, also after it was cancelled."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._status: int | None = None
        self._instance: str | None = None
        self._version: str | None = None
        self._sent = 0
        self._received = 0
        self._all_sent = False
        self._send_failed = False
        self._heard = False
        self.left = False

    def answer(self, reason: str | None, *, reused: bool | None) -> HttpResponse:
        return HttpResponse(
            reason,
            self._status,
            self._instance,
            self._version,
            self._sent,
            self._received,
            reused=reused,
            left=self.left,
        )

    async def run(self, stream: Stream, http: h11.Connection, authority: str, moved: Callable[[], None]) -> str | None:
        """Why there is no good answer, or None. `moved` is called whenever bytes went either way."""
        head = http.send(self._request.head(authority)) or b""
        if self._request.body is None:
            http.send(h11.EndOfMessage())
            await self._send_head(stream, head)
            self._all_sent = True
            return await self._receive(stream, http, moved)
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(self._send(stream, http, head, self._request.body, moved))
            reason = await self._receive(stream, http, moved)
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
        moved: Callable[[], None],
    ) -> None:
        try:
            await stream.send(head)
            async with aclosing(body) as pieces:
                async for piece in pieces:
                    await stream.send(http.send(h11.Data(piece)) or b"")
                    self._sent += len(piece)
                    moved()
            await stream.send(http.send(h11.EndOfMessage()) or b"")
            self._all_sent = True
        except ConnectionFailed:
            self._send_failed = True

    async def _receive(self, stream: Stream, http: h11.Connection, moved: Callable[[], None]) -> str | None:
        ended = False
        try:
            while True:
                event = http.next_event()
                if event is h11.NEED_DATA:
                    data = await stream.receive()
                    self._heard = self._heard or bool(data)
                    ended = not data
                    http.receive_data(data)
                    moved()
                elif isinstance(event, h11.Response):
                    self._note_head(event)
                    if not 200 <= event.status_code < 300:
                        return f"status {event.status_code}"
                    if self._request.wanted and not self._request.wanted(self._instance):
                        self.left = True
                        return None
                elif isinstance(event, h11.Data):
                    self._received += len(event.data)
                    if self._request.sink:
                        self._request.sink(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    return None
        except ConnectionFailed as broken:
            return f"{'reset' if self._send_failed else broken} {self._phase()}"
        except h11.RemoteProtocolError:
            return self._ended_early() if ended else "bad response"

    def _note_head(self, head: h11.Response) -> None:
        names = dict(head.headers)
        self._status = head.status_code
        self._instance = _text(names.get(b"x-changeover-instance"))
        self._version = _text(names.get(b"x-changeover-version"))

    def _ended_early(self) -> str:
        if self._status is not None:
            return "short body"
        return f"{'reset' if self._send_failed else 'closed'} {self._phase()}"

    def _phase(self) -> str:
        if self._heard:
            return "during response"
        return "before response" if self._all_sent else "while sending"


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
