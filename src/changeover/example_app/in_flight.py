"""Requests in flight on this instance, counted where uvicorn parses requests and sends responses.

A count inside the application would miss a request that is parsed and waits for the event loop: a drain that looked at
that moment would stop the instance during the request. So a request counts from the end of its head (`CountedProtocol`)
until the application has returned, after the last byte of the response went to the transport (`Counted`). A client
that disconnects does not end the count: the application goes on.

Refuses to count control requests: the question whether an instance is idle must not keep it busy.
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
"""Paths that load balancers and the controller request, and no client."""

UPLOAD = "/upload"
FILES = "/files"
"""The path of the uploads library, in every dialect."""


class InFlightRequest:
    """One request until its response is sent."""

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
        """Whether the connection may be closed after the response.

        Not while the request body still arrives: a refusal can be sent before its end, and closing then would reset
        the connection during the client's send, and lose the refusal. The next response closes it.
        """
        return not self.control and not self._cycle.more_body

    @property
    def is_upload(self) -> bool:
        """Whether its body is an upload or a part of one."""
        if self.path.startswith(FILES + "/"):
            return self.method in ("POST", "PUT", "PATCH")
        return (self.method, self.path) == ("POST", UPLOAD)

    def as_upload(self) -> dict[str, Any]:
        seconds = round(time.monotonic() - self._since, 3)
        return {"received": self.received, "expected": self.expected, "seconds": seconds}


class Board(ServerState):
    """Uvicorn's record of its open connections, with the requests on them."""

    def __init__(self) -> None:
        super().__init__()
        self._requests: set[InFlightRequest] = set()

    def begin(self, cycle: RequestResponseCycle) -> InFlightRequest:
        request = InFlightRequest(cycle)
        if not request.control:
            self._requests.add(request)
        return request

    def end(self, request: InFlightRequest) -> None:
        self._requests.discard(request)

    def report(self) -> dict[str, Any]:
        """The response of `/inflight`."""
        uploads = [each for each in self._requests if each.is_upload]
        return {
            "requests": len(self._requests),
            "gets": sum(each.method == "GET" for each in self._requests),
            "uploads": [each.as_upload() for each in uploads],
            "connections": sum(not (isinstance(each, CountedProtocol) and each.control) for each in self.connections),
        }


class CountedProtocol(HttpToolsProtocol):
    """Uvicorn's protocol; it also enters requests on the board, and knows how its connection is used.

    `control` is true on a connection of a health checker: from its first request on, while all are control requests.
    Any other open connection counts, even an idle one: a gateway's pool may send the next request on it, also after a
    client's request to a control path. A new connection counts too, because its first request may be one of a client.
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
        self._serves_clients = False
        self._board = server_state

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.control = False

    def on_headers_complete(self) -> None:
        super().on_headers_complete()  # makes the application's task, which cannot run before this returns
        request = self._board.begin(self.cycle)
        self.scope["state"]["request"] = request
        self._serves_clients |= not request.control
        self.control = not self._serves_clients

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for queued, _ in self.pipeline:  # behind an unfinished request: the application never sees these
            self._board.end(queued.scope["state"]["request"])


class Counted:
    """The outermost layer of the application: ends the count that `CountedProtocol` began.

    While the lame duck file exists, responses have `Connection: close`, so that pools send their next request to
    another instance.
    """

    def __init__(self, app: ASGIApp, board: Board, lame_duck_file: Path) -> None:
        self._app = app
        self._board = board
        self._lame_duck_file = lame_duck_file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request: InFlightRequest = scope["state"]["request"]

        async def counted_receive() -> Message:
            message = await receive()
            request.received += len(message.get("body", b""))
            return message

        async def marked_send(message: Message) -> None:
            if message["type"] == "http.response.start" and self._closes(request):
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        try:
            await self._app(scope, counted_receive, marked_send)
        finally:
            self._board.end(request)

    def _closes(self, request: InFlightRequest) -> bool:
        return request.may_close and self._lame_duck_file.exists()
