"""What one client or one upstream can make the relay hold, and for how long."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct

import pytest
from tests.process.relayed import Client, Harm, relaying, request, scripted

from changeover.relay.config import RelayTiming

MB = 1_000_000
HELD = 256 * 1024
"""Bytes that a body may hold in the relay: the rest of it is in the copy."""
KEY = {"idempotency_key": "k"}
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_copies_for_another_attempt_are_bounded_over_all_requests() -> None:
    async def go() -> None:
        answer, received = asyncio.Event(), 0

        async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal received
            await request(reader)
            received += 1
            await answer.wait()
            writer.write(ANSWER)

        async with scripted(late) as where, relaying(where, max_spools=5 * MB, max_held=HELD) as relayed:
            spools = relayed.server.relay.spools

            async def send() -> int:
                async with relayed.client() as client:
                    return (await client.post(bytes(4 * MB), "/other", **KEY)).status  # type: ignore[arg-type]

            sending = [asyncio.ensure_future(send()) for _ in range(6)]
            await relayed.until(lambda: received == 6)
            assert spools.held <= 5 * MB
            assert spools.dropped >= 4
            answer.set()
            assert await asyncio.gather(*sending) == [200] * 6
            assert spools.held == 0

    asyncio.run(go())


@pytest.mark.parametrize(("bound", "status"), [(4 * MB, 200), (MB, 502)])
def test_a_body_over_the_bound_is_not_sent_again(bound: int, status: int) -> None:
    async def go() -> None:
        async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            _, _, body = await request(reader)
            assert len(body) == 3 * MB
            writer.write(ANSWER)

        harm = lambda n: Harm(outward=5) if n == 0 else None  # noqa: E731
        async with scripted(answering) as where, relaying(where, harm, max_spools=bound, max_held=HELD) as relayed:
            async with relayed.client() as client:
                got = await client.post(os.urandom(3 * MB), "/other", **KEY)  # type: ignore[arg-type]
            assert (got.status, relayed.server.relay.spools.held) == (status, 0)

    asyncio.run(go())


@pytest.mark.parametrize("count", [3, 100])
def test_interim_responses_are_left_out(count: int) -> None:
    async def go() -> None:
        async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            writer.write(b"HTTP/1.1 104 Upload Resumption Supported\r\nUpload-Offset: 1\r\n\r\n" * count + ANSWER)

        async with scripted(answering) as where, relaying(where) as relayed, relayed.client() as client:
            await client.begin("GET", "/")
            got = await client.got()
            assert (got.status, got.body) == (200, b"ok")

    asyncio.run(go())


@pytest.mark.parametrize(("method", "path", "size"), [("GET", "/", 0), ("POST", "/other", 10), ("POST", "/upload", MB)])
def test_a_storm_of_interim_responses_ends_the_request(method: str, path: str, size: int) -> None:
    async def go() -> None:
        async def storm(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            while True:
                writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)
                await writer.drain()

        async with scripted(storm) as where, relaying(where, patience=0.2) as relayed, relayed.client() as client:
            await client.begin(method, path, content_length=size)
            await client.send(bytes(size))
            got = await client.got()
            assert got.status == 502
            assert "interim responses" in got.problem["detail"]

    asyncio.run(go())


def test_interim_responses_do_not_put_off_the_end_of_a_silent_request() -> None:
    async def go() -> None:
        async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            while True:
                writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
                await asyncio.sleep(0.15)

        timing = RelayTiming(body=0.3, sweep=0.05)
        async with scripted(dripping) as where, relaying(where, timing=timing) as relayed, relayed.client() as client:
            await client.begin("POST", "/other", content_length=1)
            await client.send(b"x")
            assert (await client.got()).status == 504

    asyncio.run(go())


def reset(client: Client) -> None:
    sock: socket.socket = client._writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.hang_up()


@pytest.mark.parametrize("leave", [reset, Client.hang_up])
@pytest.mark.parametrize(("method", "size"), [("GET", 0), ("POST", 10), ("POST", MB)])
def test_a_request_whose_client_has_left_ends(leave: object, method: str, size: int) -> None:
    async def go() -> None:
        received, left = asyncio.Event(), asyncio.Event()

        async def waiting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            received.set()
            with contextlib.suppress(ConnectionError):
                await reader.read(1)
            left.set()

        async with scripted(waiting) as where, relaying(where) as relayed, relayed.client() as client:
            await client.begin(method, "/other", content_length=size)
            await client.send(bytes(size))
            await received.wait()
            leave(client)  # type: ignore[operator]
            async with asyncio.timeout(40):
                await left.wait()
            await relayed.until(lambda: relayed.server.counters.clients_disconnected)
            assert relayed.server.in_flight()["requests"] == 0

    asyncio.run(go())


def test_a_client_that_closed_its_sending_side_gets_its_response() -> None:
    """It cannot be told from one that has left, until an interim response reaches it."""

    async def go() -> None:
        answer = asyncio.Event()

        async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            await answer.wait()
            writer.write(ANSWER)

        async with scripted(late) as where, relaying(where) as relayed, relayed.client() as client:
            await client.begin("GET", "/")
            client.half_close()
            assert await client.head() == (100, {})
            answer.set()
            assert (await client.got()).body == b"ok"

    asyncio.run(go())


def test_a_response_whose_client_has_left_ends() -> None:
    async def go() -> None:
        left = asyncio.Event()

        async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            with contextlib.suppress(ConnectionError):
                await reader.read(1)
            left.set()

        async with scripted(endless) as where, relaying(where) as relayed, relayed.client() as client:
            await client.begin("GET", "/")
            assert (await client.head())[0] == 200
            reset(client)
            async with asyncio.timeout(40):
                await left.wait()

    asyncio.run(go())


def test_an_upload_that_has_every_byte_goes_on_when_its_client_leaves(tmp_path: object) -> None:
    async def go() -> None:
        calls: list[str] = []
        received, answer = asyncio.Event(), asyncio.Event()

        async def storing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                try:
                    first, headers, body = await request(reader)
                except asyncio.IncompleteReadError:
                    return
                calls.append(first.split()[0])
                if first.startswith("POST"):
                    writer.write(
                        b"HTTP/1.1 201 Created\r\nLocation: /u/1\r\nUpload-Complete: ?0\r\nContent-Length: 0\r\n\r\n"
                    )
                    continue
                received.set()
                await answer.wait()
                offset = int(headers["upload-offset"]) + len(body)
                writer.write(
                    b"HTTP/1.1 201 Created\r\nUpload-Complete: ?1\r\nUpload-Offset: %d\r\nContent-Length: 0\r\n\r\n"
                    % offset
                )

        async with scripted(storing) as where, relaying(where) as relayed, relayed.client() as client:
            await client.begin("POST", "/upload", content_length=MB)
            await client.send(bytes(MB))
            await received.wait()
            reset(client)
            answer.set()
            await relayed.until(lambda: relayed.server.counters.committed_bytes == MB)
            assert "DELETE" not in calls

    asyncio.run(go())


@pytest.mark.parametrize("fields", [b"", b"Content-Length: 5\r\n"])
def test_a_trace_reaches_no_upstream_and_its_response_repeats_no_credentials(fields: bytes) -> None:
    async def go() -> None:
        async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            raise AssertionError("the upstream was asked")

        async with scripted(never) as where, relaying(where) as relayed, relayed.client() as client:
            await client.send(b"TRACE / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer s3cret\r\n" + fields + b"\r\n")
            got = await client.got()
            assert (got.status, b"s3cret" in got.body, relayed.toxic.connections) == (501, False, 0)

    asyncio.run(go())
