"""A response on its way to the client: framed as the client understands it, and never whole-looking when it was cut."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from changeover.http1.head import read_response
from changeover.relay.inbound.response import pass_on, problem, write
from changeover.relay.io.epoll import Epoll, Waker
from changeover.relay.outbound.upstream import UpstreamConnection, UpstreamFailed

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"


async def passed(
    head: bytes,
    body: bytes,
    *,
    close: bool = False,
    chunks_understood: bool = True,
    silence: float = 5.0,
    ends: bool = True,
) -> tuple[bool, bytes, bytes]:
    """Whether the connection stays, what the client got, and what is left on the upstream's connection."""
    epoll, waker = Epoll(), Waker()
    (up, upstream), (down, client) = socket.socketpair(), socket.socketpair()
    connection, channel = UpstreamConnection(epoll.channel(up, waker), 0.0), epoll.channel(down, waker)
    with upstream, client:
        upstream.sendall(body)
        if ends:
            upstream.shutdown(socket.SHUT_WR)
        try:
            keep = await pass_on(
                connection,
                read_response(head, b"GET"),
                channel,
                waker,
                close=close,
                chunks_understood=chunks_understood,
                silence=silence,
                without=frozenset({b"upload-offset"}),
            )
            channel.shut()
            return keep, client.recv(100_000), connection.inbox
        finally:
            connection.close()
            channel.close()
            epoll.close()


def test_a_body_of_known_length_is_passed_on_and_what_follows_it_stays() -> None:
    keep, got, left = asyncio.run(passed(LENGTH, b"hello and more"))
    assert (keep, left) == (True, b" and more")
    assert got.endswith(b"\r\n\r\nhello")
    assert b"Content-Length: 5" in got


def test_chunks_are_passed_on_to_a_client_that_understands_them() -> None:
    keep, got, _ = asyncio.run(passed(CHUNKED, b"5\r\nhello\r\n0\r\n\r\n"))
    assert keep
    assert got.endswith(b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")


def test_a_client_that_does_not_understand_chunks_gets_the_content_and_then_the_end() -> None:
    keep, got, _ = asyncio.run(passed(CHUNKED, b"5\r\nhello\r\n0\r\n\r\n", chunks_understood=False))
    assert not keep
    assert got.endswith(b"Connection: close\r\n\r\nhello")


def test_a_response_until_the_end_closes_the_connection_of_the_client() -> None:
    keep, got, _ = asyncio.run(passed(UNTIL_CLOSE, b"hello"))
    assert not keep
    assert got.endswith(b"Connection: close\r\n\r\nhello")


def test_a_relay_that_leaves_closes_after_the_response() -> None:
    keep, got, _ = asyncio.run(passed(LENGTH, b"hello", close=True))
    assert not keep
    assert b"Connection: close" in got


def test_a_client_of_http_1_0_that_keeps_its_connection_is_informed_of_it() -> None:
    keep, got, _ = asyncio.run(passed(LENGTH, b"hello", chunks_understood=False))
    assert keep
    assert b"Connection: keep-alive" in got


def test_fields_between_the_relay_and_the_upstream_do_not_reach_the_client() -> None:
    head = LENGTH.replace(b"\r\n\r\n", b"\r\nUpload-Offset: 5\r\nX-App: yes\r\n\r\n")
    _, got, _ = asyncio.run(passed(head, b"hello"))
    assert b"Upload-Offset" not in got
    assert b"X-App: yes" in got


@pytest.mark.parametrize(
    ("head", "body", "reason"),
    [
        (LENGTH, b"hell", "broke off"),
        (CHUNKED, b"5\r\nhell", "broke off"),
        (CHUNKED, b"x\r\n", "the body of the response: the size of a chunk is not a number"),
    ],
)
def test_a_response_that_ends_too_early_or_is_malformed_has_failed(head: bytes, body: bytes, reason: str) -> None:
    with pytest.raises(UpstreamFailed, match=reason):
        asyncio.run(passed(head, body))


def test_a_response_that_stands_still_has_failed_by_time() -> None:
    async def go() -> None:
        with pytest.raises(UpstreamFailed, match="stood still") as failed:
            await passed(LENGTH, b"hell", silence=-1.0, ends=False)
        assert failed.value.timeout

    asyncio.run(go())


def test_a_client_that_takes_nothing_is_given_up_by_time() -> None:
    async def go() -> None:
        epoll, waker = Epoll(), Waker()
        ours, theirs = socket.socketpair()
        channel = epoll.channel(ours, waker)
        with theirs, pytest.raises(TimeoutError):
            await write(channel, waker, bytes(10_000_000), time.monotonic() - 1)
        channel.close()
        epoll.close()

    asyncio.run(go())


def test_a_problem_names_its_status_and_what_else_is_known() -> None:
    status, fields, content = problem(502, "no connection", committed=5)
    assert (status, fields) == (502, [(b"Content-Type", b"application/problem+json")])
    assert content == b'{"title": "Bad Gateway", "status": 502, "detail": "no connection", "committed": 5}'
