"""The address at which `receive` serves its Prometheus metrics: one of its own, which clients of uploads do not reach.

Refuses every path but /metrics and every method but GET and HEAD. Its connections have the bounds of the receiver's.
"""

from __future__ import annotations

import asyncio

import prometheus_client

from changeover.http1.head import RequestHead
from changeover.uploads.dialects.http import DialectResponse, problem
from changeover.uploads.server.body import ReceiveTiming, RequestBody
from changeover.uploads.server.connection import ReceiverConnection


class MetricsServer:
    """Use it by `async with`; at the end it closes every connection."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._connections: set[ReceiverConnection] = set()

    async def __aenter__(self) -> MetricsServer:
        timing = ReceiveTiming()
        self._server = await asyncio.get_running_loop().create_server(
            lambda: ReceiverConnection(_respond, self._connections, timing), self._host, self._port
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in [*self._connections]:
            connection.abort()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port


async def _respond(head: RequestHead, body: RequestBody) -> DialectResponse:
    if head.path != b"/metrics":
        return problem(404, "this address serves /metrics")
    if head.method not in (b"GET", b"HEAD"):
        return problem(405, f"{head.method.decode()} is not allowed here", ("Allow", "GET, HEAD"))
    kind = ("Content-Type", prometheus_client.CONTENT_TYPE_LATEST)
    return DialectResponse(200, (kind,), prometheus_client.generate_latest())
