"""What is in flight on this instance, counted where uvicorn parses and answers.

Counting inside the application would miss a request that is parsed and waits for its turn on the event loop:
a drain that looked at that moment would stop the instance under it. So a request counts from the end of its
head (`CountedProtocol`) until the application has returned, which is after the last byte of the answer went
to the transport (`Counted`). A client that hangs up does not end it: the work goes on.

Refuses to count control requests: whoever asks whether an instance is idle must not keep it busy.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

CONTROL = frozenset({"/livez", "/readyz", "/inflight"})
"""Paths asked by load balancers and by the rollout, not by clients."""

UPLOAD = "/upload"
FILES = "/files"
"""Below it uploads come in every dialect of the uploads library."""


class Exchange:
    """One request and its answer."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._since = time.monotonic()
        length = dict(cycle.scope["headers"]).get(b"content-length")
        self.method = cycle.scope["method"]
        self.path = cycle.scope["path"]
        self.expected = None if length is None else int(length)
        self.received = 0

    @property
    def control(self) -> bool:
        return self.path in CONTROL

    @property
    def may_close(self) -> bool:
        """Whether the connection may be closed after the answer.

        Not while the request body is still coming: a refusal can overtake it, and closing then would reset
        the connection under a client that is still sending, and lose the refusal. The next answer closes it.
        """
        return not self.control and not self._cycle.more_body

    @property
    def is_upload(self) -> bool:
        """Whether its body is one, or a piece of one."""
        if self.path.startswith(FILES + "/"):
            return self.method in ("POST", "PUT", "PATCH")
        return (self.method, self.path) == ("POST", UPLOAD)

    def as_upload(self) -> dict[str, Any]:
        seconds = round(time.monotonic() - self._since, 3)
        return {"received": self.received, "expected": self.expected, "seconds": seconds}


class Board(ServerState):
    """Uvicorn's own record of its open connections and, beside it, the requests they carry."""

    def __init__(self) -> None:
        super().__init__()
        self._exchanges: set[Exchange] = set()

    def begin(self, cycle: RequestResponseCycle) -> Exchange:
        exchange = Exchange(cycle)
        if not exchange.control:
            self._exchanges.add(exchange)
        return exchange

    def end(self, exchange: Exchange) -> None:
        self._exchanges.discard(exchange)

    def report(self) -> dict[str, Any]:
        """What `/inflight` answers."""
        uploads = [each for each in self._exchanges if each.is_upload]
        return {
            "requests": len(self._exchanges),
            "gets": sum(each.method == "GET" for each in self._exchanges),
            "uploads": [each.as_upload() for each in uploads],
            "connections": sum(not (isinstance(each, CountedProtocol) and each.control) for each in self.connections),
        }


class CountedProtocol(HttpToolsProtocol):
    """Uvicorn's protocol; it also enters requests on the board, and knows what its connection is used for.

    `control` holds while the connection serves a control request and after it, until the next request begins.
    Any other open connection counts, idle ones included: a gateway's pool may send the next request on it. So
    does one that has carried nothing yet, because nobody knows what it will carry.
    """

    def __init__(
        self,
        config: Config,
        server_state: Board,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.control = False
        self._board = server_state

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.control = False

    def on_headers_complete(self) -> None:
        super().on_headers_complete()  # makes the application's task, which cannot run before this returns
        exchange = self._board.begin(self.cycle)
        self.scope["state"]["exchange"] = exchange
        self.control = exchange.control

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for queued, _ in self.pipeline:  # behind an unfinished request: no application will ever see these
            self._board.end(queued.scope["state"]["exchange"])


class Counted:
    """The outermost layer around the application: ends what `CountedProtocol` began, and sends clients away.

    While the lame duck file exists, answers say `Connection: close`, so that pools take their next request to
    another instance.
    """

    def __init__(self, app: ASGIApp, board: Board, lame_duck_file: Path) -> None:
        self._app = app
        self._board = board
        self._lame_duck_file = lame_duck_file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope["state"]["exchange"]

        async def counted_receive() -> Message:
            message = await receive()
            exchange.received += len(message.get("body", b""))
            return message

        async def marked_send(message: Message) -> None:
            if message["type"] == "http.response.start" and self._sends_away(exchange):
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        try:
            await self._app(scope, counted_receive, marked_send)
        finally:
            self._board.end(exchange)

    def _sends_away(self, exchange: Exchange) -> bool:
        return exchange.may_close and self._lame_duck_file.exists()
