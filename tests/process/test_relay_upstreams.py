"""The relay in front of an upstream that is wrong, refuses, or does not speak its protocol."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest
from tests.process.relayed import Harm, relaying, request, scripted, storing

MB = 1_000_000


def sha(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


async def begun(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the creation."""
    first, headers, body = await request(reader)
    assert (first.split()[0], headers["upload-complete"], body) == ("POST", "?0", b"")
    writer.write(b"HTTP/1.1 201 Created\r\nLocation: /there/1\r\nUpload-Complete: ?0\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("offset", [99_999_999, 1_100_000])
def test_an_offset_beyond_what_was_sent_is_not_believed(offset: int) -> None:
    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await begun(reader, writer)
        await request(reader)
        writer.write(b"HTTP/1.1 204 No Content\r\nUpload-Complete: ?0\r\nUpload-Offset: %d\r\n\r\n" % offset)

    async def go() -> None:
        async with scripted(lie) as where, relaying(where) as relayed, relayed.client() as client:
            await client.begin("POST", "/upload", content_length=5 * MB)
            await client.send(bytes(1_050_000))
            got = await client.got()
            assert (got.status, f"offset {offset}" in got.problem["detail"]) == (502, True)

    asyncio.run(go())


def test_an_offset_that_goes_back_is_not_believed() -> None:
    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await begun(reader, writer)
        _, headers, body = await request(reader)
        end = int(headers["upload-offset"]) + len(body)
        writer.write(b"HTTP/1.1 204 No Content\r\nUpload-Complete: ?0\r\nUpload-Offset: %d\r\n\r\n" % end)
        await request(reader)
        writer.write(b"HTTP/1.1 204 No Content\r\nUpload-Complete: ?0\r\nUpload-Offset: 5\r\n\r\n")

    async def go() -> None:
        async with scripted(lie) as where, relaying(where) as relayed, relayed.client() as client:
            got = await client.post(bytes(5 * MB))
            assert got.status == 502
            assert got.problem["committed"] >= 1 << 20
            assert got.problem["upload"] == "/there/1"

    asyncio.run(go())


def test_an_application_that_acknowledges_less_gets_the_rest_again() -> None:
    stored = bytearray()

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await begun(reader, writer)
        while True:
            _, headers, body = await request(reader)
            assert int(headers["upload-offset"]) == len(stored)
            whole = headers["upload-complete"] == "?1" and len(body) < 1000
            stored.extend(body if whole else body[: len(body) // 2 + 1])
            if whole:
                writer.write(b"HTTP/1.1 201 Created\r\nUpload-Complete: ?1\r\nContent-Length: 5\r\n\r\nthere")
            else:
                told = b"HTTP/1.1 204 No Content\r\nUpload-Complete: ?0\r\nUpload-Offset: %d\r\n\r\n"
                writer.write(told % len(stored))

    async def go() -> None:
        body = os.urandom(2 * MB)
        async with scripted(half) as where, relaying(where) as relayed, relayed.client() as client:
            got = await client.post(body)
            assert (got.status, got.body, bytes(stored)) == (201, b"there", body)
            assert relayed.server.counters.resent_bytes > 0

    asyncio.run(go())


def test_an_application_that_does_not_speak_of_resuming_gets_no_byte_of_the_body() -> None:
    seen: list[tuple[str, bytes]] = []

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, _, body = await request(reader)
        seen.append((first, body))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def go() -> None:
        async with scripted(plain) as where, relaying(where) as relayed, relayed.client() as client:
            got = await client.post(bytes(MB))
            assert (got.status, "does not support" in got.problem["detail"]) == (502, True)
            assert seen == [("POST /upload HTTP/1.1", b"")]

    asyncio.run(go())


def test_what_the_application_says_to_the_creation_is_the_answer() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 4\r\n\r\nwho?")

    async def go() -> None:
        async with scripted(refuse) as where, relaying(where) as relayed, relayed.client() as client:
            await client.begin("POST", "/upload", content_length=5 * MB, expect="100-continue")
            got = await client.got()
            assert (got.status, got.headers["www-authenticate"], got.body) == (401, "Basic", b"who?")

    asyncio.run(go())


def test_when_nobody_is_there_for_long_the_client_learns_what_is_stored(tmp_path: Path) -> None:
    async def go() -> None:
        dead = lambda n: Harm(inward=1_500_000) if n == 0 else Harm(inward=0)  # noqa: E731
        async with storing(tmp_path, dead, patience=0.5) as relayed, relayed.client() as client:
            got = await client.post(os.urandom(4 * MB))
            told = got.problem
            assert (got.status, told["committed"]) == (502, relayed.server.counters.committed_bytes)
            assert told["upload"].startswith("/upload/")
            assert f"{told['committed']} bytes are stored" in told["detail"]

    asyncio.run(go())
