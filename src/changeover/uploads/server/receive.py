"""A server that speaks the upload dialects and nothing else: the library without ASGI in the path of the bytes.

Requests are read by `http1/`, as strictly as the relay reads them. The engine, the stores and the dialects are those of
the ASGI application. Refuses HTTP/2 and TLS: it stands behind a proxy that has them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import cast

from changeover.http1.head import RequestHead
from changeover.uploads.core import capability
from changeover.uploads.core.engine import Engine
from changeover.uploads.core.errors import ClientDisconnected, UploadError
from changeover.uploads.dialects.cors import Cors, preflight, readable
from changeover.uploads.dialects.dispatch import dispatch
from changeover.uploads.dialects.http import DialectRequest, DialectResponse, error_response, problem
from changeover.uploads.dialects.public_url import PublicUrl
from changeover.uploads.server.body import ReceiveTiming, RequestBody
from changeover.uploads.server.connection import ReceiverConnection

_LOG = logging.getLogger(__name__)

BACKLOG = 2048
"""Connections the kernel may queue while the event loop is busy; a full queue is a refused client."""


class Receiver:
    """Listens at one address. Use it by `async with`; at the end it finishes what is under way."""

    def __init__(
        self,
        engine: Engine,
        host: str,
        port: int,
        *,
        root: str = "/files",
        public_url: PublicUrl | None = None,
        cors: Cors | None = None,
        timing: ReceiveTiming | None = None,
    ) -> None:
        self.engine = engine
        self._root = root
        self._cors = cors
        self._public_url = public_url or PublicUrl()
        self._timing = timing or ReceiveTiming()
        self._connections: set[ReceiverConnection] = set()
        self._host, self._port = host, port
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Receiver:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: ReceiverConnection(self._respond, self._connections, self._timing),
            self._host,
            self._port,
            backlog=BACKLOG,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()

    async def leave(self) -> None:
        """Take no new connection, interrupt uploads that their clients can resume, and finish the other requests.

        Returns when no connection is left, the application has answered every upload, and every event is delivered; at
        the latest at the end of the grace, at which the remaining connections are closed.
        """
        assert self._server is not None
        self._server.close()
        try:
            async with asyncio.timeout(self._timing.grace):
                await self.engine.leave()
                while connections := [*self._connections]:
                    for connection in connections:
                        connection.leave()
                    await asyncio.gather(*[connection.closed.wait() for connection in connections])
                await self.engine.completion.wait_until_idle()
        except TimeoutError:
            _LOG.warning(
                "The grace of %g s ended with %d connections open. They are closed; plain uploads among them are lost.",
                self._timing.grace,
                self.connections,
            )
            for connection in [*self._connections]:
                connection.abort()

    @property
    def connections(self) -> int:
        """Connections of clients that are open."""
        return len(self._connections)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def _respond(self, head: RequestHead, body: RequestBody) -> DialectResponse:
        root, method = self._root, head.method.decode()
        path, _, query = head.target.decode("latin-1").partition("?")
        if path != root and not path.startswith(root + "/"):
            return problem(404, f"uploads are at {root}")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.fields.items()}
        if self._cors is None:
            return await self._respond_to_any_origin(method, path[len(root) :], query, headers, body)
        if (answer := preflight(self._cors, method, headers)) is not None:
            return answer
        response = await self._respond_to_any_origin(method, path[len(root) :], query, headers, body)
        return readable(self._cors, response, headers)

    async def _respond_to_any_origin(
        self, method: str, rest: str, query: str, headers: Mapping[str, str], body: RequestBody
    ) -> DialectResponse:
        base = self._public_url.base(self._root, body.peer, "http", headers)
        try:
            content = cast("AsyncIterator[bytes]", body)
            owner = ""
            if continued := capability.read(rest):
                owner = await self.engine.owner_by_capability(*continued)
                rest = "/" + continued[0]
            return await dispatch(
                self.engine, DialectRequest(method, self._root, rest, query, headers, content, owner, base)
            )
        except UploadError as error:
            return error_response(error)
        except ClientDisconnected:
            raise
        except Exception:  # otherwise the client would wait for a response until its own timeout
            _LOG.exception("%s %s could not be answered", method, self._root + rest)
            return problem(500, "this server failed; its log says how")
