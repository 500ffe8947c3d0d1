"""Connections to the upstream: pooled for a bounded time, never used after an end; and one request on one of them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from changeover.http1.head import MAX_HEAD
from changeover.relay.config import Pooling
from changeover.relay.io.body_buffer import Block
from changeover.relay.io.epoll import Epoll, Waker
from changeover.relay.io.pipes import Pipes
from changeover.relay.outbound.upstream import Upstream, UpstreamConnection, UpstreamFailed, UpstreamRequest

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n\r\n"
LONG = Pooling(idle=60.0, life=60.0)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Scene:
    """An upstream that the test plays: it accepts with `accept`."""

    def __init__(self, pooling: Pooling) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.epoll, self.waker, self.pipes = Epoll(), Waker(), Pipes()
        host, port = self.listener.getsockname()
        self.upstream = Upstream(host, port, self.epoll, pooling)

    async def connected(self, *, fresh: bool = False) -> tuple[UpstreamConnection, socket.socket]:
        connection = await self.upstream.connect(self.waker, fresh=fresh)
        server, _ = self.listener.accept()
        return connection, server

    async def response(self, request: UpstreamRequest) -> int:
        while request.response is None:
            self.waker.clear()
            if not request.step():
                await self.waker.wait()
        return request.response.status

    def request(self, connection: UpstreamConnection, *body: bytes) -> UpstreamRequest:
        return UpstreamRequest(connection, b"POST", HEAD, [Block(data=each) for each in body], self.pipes)


def play(story: Callable[[Scene], Awaitable[None]], pooling: Pooling = LONG) -> None:
    async def go() -> None:
        scene = Scene(pooling)
        try:
            async with asyncio.timeout(5):
                await story(scene)
        finally:
            scene.upstream.close()
            scene.epoll.close()
            scene.pipes.close()
            scene.listener.close()

    asyncio.run(go())


def test_a_released_connection_is_used_again_unless_a_fresh_one_is_asked_for() -> None:
    async def story(s: Scene) -> None:
        first, server = await s.connected()
        s.upstream.release(first)
        assert await s.upstream.connect(s.waker) is first
        s.upstream.release(first)
        second, other = await s.connected(fresh=True)
        assert second is not first
        second.close()
        server.close()
        other.close()

    play(story)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 408 Request Timeout\r\n\r\n"])
def test_a_pooled_connection_on_which_the_upstream_spoke_or_ended_is_not_used(sent: bytes) -> None:
    async def story(s: Scene) -> None:
        first, server = await s.connected()
        s.upstream.release(first)
        server.sendall(sent)
        server.close()
        second, other = await s.connected()
        assert second is not first
        second.close()
        other.close()

    play(story)


@pytest.mark.parametrize("pooling", [Pooling(idle=0.0, life=60.0), Pooling(idle=60.0, life=0.0)])
def test_a_connection_that_idled_or_lived_too_long_is_closed(pooling: Pooling) -> None:
    async def story(s: Scene) -> None:
        first, server = await s.connected()
        s.upstream.release(first)
        s.upstream.sweep(float("inf"))
        assert server.recv(1) == b""
        server.close()

    play(story, pooling)


def test_an_upstream_that_refuses_connections_has_failed_and_did_not_time_out() -> None:
    async def story(s: Scene) -> None:
        s.listener.close()
        with pytest.raises(UpstreamFailed, match="Connect call failed") as failed:
            await s.upstream.connect(s.waker)
        assert not failed.value.timeout

    play(story)


def test_a_request_is_whole_when_its_head_and_its_body_were_sent() -> None:
    async def story(s: Scene) -> None:
        connection, server = await s.connected()
        request = s.request(connection, b"one", b"two")
        request.more = True
        server.sendall(OK)
        assert await s.response(request) == 200
        assert server.recv(1000) == HEAD + b"onetwo"
        assert (request.sent, request.all_sent, request.is_sent_whole) == (6, True, False)
        request.more = False
        assert request.is_sent_whole
        connection.close()
        server.close()

    play(story)


def test_interim_responses_are_skipped_and_bytes_after_the_head_stay() -> None:
    async def story(s: Scene) -> None:
        connection, server = await s.connected()
        server.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\nbody")
        assert await s.response(s.request(connection)) == 201
        assert connection.inbox == b"body"
        connection.close()
        server.close()

    play(story)


def test_an_early_refusal_is_the_response_though_the_body_was_not_taken() -> None:
    async def story(s: Scene) -> None:
        connection, server = await s.connected()
        server.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        request = s.request(connection, *[bytes(1 << 20)] * 64)
        assert await s.response(request) == 413
        assert not request.is_sent_whole
        connection.close(reset=True)
        server.close()

    play(story)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [(b"HTTP/1.1 200", "the upstream closed"), (b"HTTP/1.1 200 OK\r\nA: " + bytes([97]) * (MAX_HEAD + 1), "too long")],
)
def test_a_head_that_does_not_end_is_no_response(sent: bytes, reason: str) -> None:
    async def story(s: Scene) -> None:
        connection, server = await s.connected()
        server.sendall(sent)
        server.shutdown(socket.SHUT_WR)
        with pytest.raises(UpstreamFailed, match=reason):
            await s.response(s.request(connection))
        connection.close()
        server.close()

    play(story)
