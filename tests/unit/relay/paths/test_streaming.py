"""Which failures of the upstream a streamed request outlives."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.process.relayed import Got, relaying

from changeover.relay.config import RoutePattern
from changeover.relay.paths.streaming import ATTEMPTS

BODY = b"hello"


class Breaking:
    """An upstream that closes its first connections: before it reads anything, or after a whole request."""

    def __init__(self, breaks: int, *, reads: bool) -> None:
        self.received: list[bytes] = []
        self._breaks = breaks
        self._reads = reads

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._breaks -= 1
        broken = self._breaks >= 0
        if not broken or self._reads:
            head = await reader.readuntil(b"\r\n\r\n")
            self.received.append(head.split()[0] + b" " + await reader.readexactly(5))
        if not broken:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()


def sent(upstream: Breaking, method: str, replayed: tuple[RoutePattern, ...] = (), **headers: Any) -> Got:
    async def go() -> Got:
        server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
        async with (
            server,
            relaying(server.sockets[0].getsockname()[:2], segmented=(), replayed=replayed) as relayed,
            relayed.client() as client,
        ):
            await client.begin(method, "/plain", content_length=len(BODY), **headers)
            await asyncio.sleep(0)
            await client.send(BODY)
            return await client.got()

    return asyncio.run(go())


@pytest.mark.parametrize(("method", "headers"), [("PUT", {}), ("POST", {"Idempotency_Key": "1"})])
def test_a_request_that_may_be_repeated_outlives_an_upstream_that_read_all_of_it(
    method: str, headers: dict[str, Any]
) -> None:
    upstream = Breaking(1, reads=True)
    assert sent(upstream, method, **headers).status == 200
    assert upstream.received == [f"{method} hello".encode()] * 2


def test_a_request_that_may_not_be_repeated_is_refused_and_its_effect_called_unknown() -> None:
    upstream = Breaking(1, reads=True)
    got = sent(upstream, "POST")
    assert got.status == 502
    assert "it is not known whether the request was carried out" in got.problem["detail"]
    assert upstream.received == [b"POST hello"]


def test_a_route_that_opted_in_is_repeated_only_while_the_body_was_not_sent_completely() -> None:
    assert sent(Breaking(1, reads=True), "POST", (RoutePattern(b"POST", b"/plain"),)).status == 502


def test_the_attempts_end() -> None:
    upstream = Breaking(ATTEMPTS, reads=True)
    assert sent(upstream, "PUT").status == 502
    assert len(upstream.received) == ATTEMPTS
