"""Requests that the relay streams: they arrive as they are, and are sent again only where that does no harm."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.process.relayed import Harm, relaying, request, scripted

from changeover.relay.config import RoutePattern

MB = 1_000_000


def sha(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers every request with what it saw of it."""
    while True:
        try:
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readexactly(2)
        else:
            body = await reader.readexactly(int(headers.get("content-length", 0)))
        told = json.dumps({"first": first, "headers": headers, "sha": sha(body).decode()}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(told) + told)


def test_other_requests_go_through_as_they_are() -> None:
    async def go() -> None:
        async with scripted(echo) as where, relaying(where) as relayed, relayed.client() as client:
            await client.begin("GET", "/some/where?x=1", cookie="a=b", connection="x-own", x_own="for the relay")
            told = json.loads((await client.got()).body)
            assert told["first"] == "GET /some/where?x=1 HTTP/1.1"
            assert (told["headers"]["cookie"], "x-own" in told["headers"]) == ("a=b", False)
            assert told["headers"]["x-forwarded-for"] == "127.0.0.1"
            for chunk in (0, 70_000):
                body = os.urandom(3 * MB)
                got = await client.post(body, "/other", chunk=chunk)
                assert json.loads(got.body)["sha"] == sha(body).decode()

    asyncio.run(go())


def test_requests_that_follow_at_once_are_answered_in_their_order() -> None:
    async def go() -> None:
        async with scripted(echo) as where, relaying(where) as relayed, relayed.client() as client:
            await client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(20)))
            for number in range(20):
                assert json.loads((await client.got()).body)["first"] == f"GET /{number} HTTP/1.1"

    asyncio.run(go())


@pytest.mark.parametrize(
    ("method", "headers", "opted", "at", "again"),
    [
        ("GET", {}, False, 10, True),
        ("POST", {}, False, 10, False),
        ("POST", {}, False, 200_000, False),
        ("POST", {}, True, 200_000, True),
        ("POST", {"idempotency_key": "k"}, False, 200_000, True),
        ("PUT", {}, False, 200_000, True),
    ],
)
def test_a_request_is_sent_again_only_where_that_does_no_harm(
    method: str, headers: dict[str, str], opted: bool, at: int, again: bool
) -> None:
    async def go() -> None:
        body = b"" if method == "GET" else os.urandom(3 * MB)
        harm = lambda n: Harm(inward=at) if n == 0 else None  # noqa: E731
        told: dict[str, Any] = {"replayed": (RoutePattern(b"POST", b"/other"),) if opted else ()}
        async with scripted(echo) as where, relaying(where, harm, **told) as relayed, relayed.client() as client:
            await client.begin(method, "/other", content_length=len(body), **headers)
            await client.send(body)
            got = await client.got()
            assert got.status == (200 if again else 502)
            if again:
                assert json.loads(got.body)["sha"] == sha(body).decode()
            assert relayed.server.counters.replayed == again

    asyncio.run(go())


@pytest.mark.parametrize(("headers", "again"), [({}, False), ({"idempotency_key": "k"}, True)])
def test_a_body_that_was_sent_completely_is_sent_again_only_with_a_key(headers: dict[str, Any], again: bool) -> None:
    """The application may have acted on it: its answer is what got lost."""

    async def go() -> None:
        harm = lambda n: Harm(outward=5) if n == 0 else None  # noqa: E731
        opted = (RoutePattern(b"POST", b"/other"),)
        relay = relaying
        async with scripted(echo) as where, relay(where, harm, replayed=opted) as relayed, relayed.client() as client:
            assert (await client.post(bytes(300_000), "/other", **headers)).status == (200 if again else 502)

    asyncio.run(go())


@pytest.mark.parametrize(
    ("fields", "harm", "again"),
    [
        (b"", Harm(outward=5), False),
        (b"Idempotency-Key: k\r\n", Harm(outward=5), True),
        (b"", Harm(inward=10), False),
        (b"Idempotency-Key: k\r\n", Harm(inward=10), True),
    ],
)
def test_a_body_that_came_along_with_its_head_is_sent_again_only_with_a_key(
    fields: bytes, harm: Harm, again: bool
) -> None:
    async def go() -> None:
        first = lambda n: harm if n == 0 else None  # noqa: E731
        whole = b"POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n%b\r\nhello" % fields
        async with scripted(echo) as where, relaying(where, first) as relayed, relayed.client() as client:
            await client.send(whole)
            got = await client.got()
            assert got.status == (200 if again else 502)
            if again:
                assert json.loads(got.body)["sha"] == sha(b"hello").decode()
            assert relayed.server.counters.replayed == again

    asyncio.run(go())


@pytest.mark.parametrize(
    "head",
    [
        b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /upload HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\nContent-Length: 5\r\n\r\n",
        b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_and_the_connection_closed(head: bytes) -> None:
    async def go() -> None:
        async with scripted(echo) as where, relaying(where) as relayed, relayed.client() as client:
            await client.send(head)
            got = await client.got()
            assert (got.status, got.headers["connection"]) == (400, "close")
            client.half_close()
            assert await client.is_closed()
            assert relayed.toxic.connections == 0

    asyncio.run(go())


def test_a_head_that_does_not_end_is_refused() -> None:
    async def go() -> None:
        async with scripted(echo) as where, relaying(where) as relayed, relayed.client() as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 70_000)
            assert (await client.got()).status == 431

    asyncio.run(go())


def test_a_client_of_http_1_0_gets_an_answer_that_it_understands() -> None:
    async def chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")

    async def go() -> None:
        async with scripted(chunks) as where, relaying(where) as relayed, relayed.client() as client:
            await client.send(b"GET / HTTP/1.0\r\n\r\n")
            status, headers = await client.head()
            assert (status, "transfer-encoding" in headers, headers["connection"]) == (200, False, "close")
            assert await client.rest() == b"hello"

    asyncio.run(go())


def test_a_request_that_goes_round_in_a_circle_is_refused() -> None:
    async def go() -> None:
        via = ", ".join(f"1.1 changeover-{n}" for n in range(9))
        async with scripted(echo) as where, relaying(where) as relayed, relayed.client() as client:
            await client.begin("GET", "/", via=via)
            assert (await client.got()).status == 508

    asyncio.run(go())


def test_a_relay_in_lame_duck_sends_its_clients_away_after_their_answer(tmp_path: Path) -> None:
    async def go() -> None:
        lame = tmp_path / "lame-duck"
        relay = relaying
        async with scripted(echo) as where, relay(where, lame_duck_file=lame) as relayed, relayed.client() as client:
            await client.begin("GET", "/")
            assert "connection" not in (await client.got()).headers
            lame.touch()
            await client.begin("GET", "/")
            assert (await client.got()).headers["connection"] == "close"
            assert await client.is_closed()

    asyncio.run(go())


def test_whose_connection_it_is_comes_from_the_proxy_header() -> None:
    async def go() -> None:
        async with scripted(echo) as where, relaying(where, proxy_protocol=True) as relayed:
            async with relayed.client() as client:
                await client.send(b"PROXY TCP4 203.0.113.7 127.0.0.1 1 2\r\n")
                await client.begin("GET", "/")
                assert json.loads((await client.got()).body)["headers"]["x-forwarded-for"] == "203.0.113.7"
            async with relayed.client() as stranger:
                await stranger.begin("GET", "/")
                assert await stranger.is_closed()

    asyncio.run(go())
