"""One connection of a client: requests in their order, refusals that close, and whose body goes in segments."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.process.relayed import Client, Relayed, relaying

from changeover.relay.config import RelayTiming

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each request that has no body."""
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(OK)


def play(story: Callable[[Relayed, Client], Awaitable[None]], **config: Any) -> None:
    async def go() -> None:
        server = await asyncio.start_server(upstream, "127.0.0.1", 0)
        async with (
            server,
            relaying(server.sockets[0].getsockname()[:2], **config) as relayed,
            relayed.client() as client,
        ):
            await story(relayed, client)

    asyncio.run(go())


def test_requests_that_arrive_together_are_answered_in_their_order() -> None:
    async def story(relayed: Relayed, client: Client) -> None:
        await client.send(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert [(await client.got()).status for _ in range(2)] == [200, 200]
        assert relayed.server.counters.requests == 2

    play(story)


def test_a_client_that_sends_more_after_its_last_request_gets_the_response() -> None:
    """A connection that is closed with bytes unread is reset, which discards the response."""

    async def go() -> None:
        asked, answers = asyncio.Event(), asyncio.Event()

        async def waiting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            asked.set()
            await answers.wait()
            writer.write(OK)

        server = await asyncio.start_server(waiting, "127.0.0.1", 0)
        timing = RelayTiming(linger=0.2)
        where = server.sockets[0].getsockname()[:2]
        async with server, relaying(where, timing=timing) as relayed, relayed.client() as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            await asked.wait()
            await client.send(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
            answers.set()
            assert (await client.rest()).endswith(b"Connection: close\r\n\r\nok")
            assert relayed.server.counters.requests == 1

    asyncio.run(go())


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
    ],
)
def test_a_malformed_request_is_refused_and_what_follows_it_is_not_read(head: bytes, status: int) -> None:
    async def story(relayed: Relayed, client: Client) -> None:
        await client.send(head + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        client.half_close()
        got = await client.got()
        assert (got.status, got.headers["connection"]) == (status, "close")
        assert got.problem["status"] == status
        assert await client.is_closed()

    play(story)


def test_a_connection_that_ends_within_a_head_is_refused_and_an_idle_one_ends_quietly() -> None:
    async def cut(_: Relayed, client: Client) -> None:
        await client.send(b"GET / HT")
        client.half_close()
        assert (await client.got()).problem["detail"] == "the connection ended in the middle of a head"

    async def idle(_: Relayed, client: Client) -> None:
        client.half_close()
        assert await client.rest() == b""

    play(cut)
    play(idle)


def test_a_head_that_takes_too_long_is_refused_and_a_client_that_idles_too_long_is_closed() -> None:
    async def slow(_: Relayed, client: Client) -> None:
        await client.send(b"GET / HT")
        assert (await client.got()).status == 408

    async def idle(_: Relayed, client: Client) -> None:
        assert await client.rest() == b""

    play(slow, timing=RelayTiming(head=0.0, sweep=0.01, linger=0.0))
    play(idle, timing=RelayTiming(idle=0.0, sweep=0.01))


def test_a_response_to_head_has_no_content_also_when_the_relay_refuses() -> None:
    async def story(_: Relayed, client: Client) -> None:
        via = ", ".join(["1.1 changeover-a"] * 8)
        await client.send(f"HEAD / HTTP/1.1\r\nHost: a\r\nVia: {via}\r\n\r\n".encode())
        client.half_close()
        head, _end, content = (await client.rest()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 508")
        assert content == b""

    play(story)


def test_a_relay_in_lame_duck_closes_after_the_response(tmp_path: Path) -> None:
    async def story(_: Relayed, client: Client) -> None:
        await client.begin("GET", "/")
        assert (await client.got()).headers["connection"] == "close"
        assert await client.is_closed()

    (tmp_path / "lame-duck").touch()
    play(story, lame_duck_file=tmp_path / "lame-duck")


@pytest.mark.parametrize("field", ["Tus-Resumable", "Content-Range", "Upload-Offset"])
def test_a_client_that_resumes_by_itself_is_streamed_to_the_application(field: str) -> None:
    async def story(relayed: Relayed, client: Client) -> None:
        await client.send(
            f"POST /upload HTTP/1.1\r\nHost: a\r\n{field}: 1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        assert (await client.got()).status == 200
        assert (relayed.server.counters.streamed, relayed.server.counters.segmented) == (1, 0)

    play(story)
