"""Clients of the receiver that neither send nor read: each is disconnected, and leaves nothing open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.process.received import (
    PART,
    PARTIAL,
    PARTS,
    PATIENCE,
    Client,
    descriptors,
    large_upload,
    serving,
    settled,
    slow_reader,
)

from changeover.uploads.server.body import BUFFER, ReceiveTiming

Run = Callable[[Any], Any]
SHORT = ReceiveTiming(body=0.3, write=0.3, linger=0.3, leaving=0.3)


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    return request.param  # type: ignore[no-any-return]


async def rest_of(client: Client) -> int:
    """Bytes until the server closes or resets the connection."""
    count = 0
    with suppress(ConnectionError):
        async with asyncio.timeout(PATIENCE):
            while data := await client.read(1_000_000):
                count += len(data)
    return count


def test_a_client_that_reads_nothing_of_its_response_is_disconnected(tmp_path: Path, run: Run) -> None:
    async def go() -> None:
        async with serving(tmp_path, timing=SHORT) as server:
            place = await large_upload(server)
            await settled(lambda: not server.receiver.connections)
            before = descriptors()
            async with slow_reader(server) as client:
                await client.begin("GET", f"{place}/content")
                await settled(lambda: server.receiver.connections == 1)
                await settled(lambda: server.receiver.connections == 0)
                assert await rest_of(client) < PART * PARTS
            await settled(lambda: descriptors() == before)

    run(go())


def test_a_client_that_reads_slowly_gets_all_of_its_response(tmp_path: Path, run: Run) -> None:
    """Its pauses are shorter than the time without a byte; the whole takes longer. It has no other request to come."""

    async def go() -> None:
        async with serving(tmp_path, timing=SHORT) as server:
            place = await large_upload(server)
            async with slow_reader(server) as client:
                await client.begin("GET", f"{place}/content", connection="close")
                count, pauses = 0, 0
                while data := await client.read(500_000):
                    count += len(data)
                    if count > pauses * PART // 2:
                        pauses += 1
                        await asyncio.sleep(0.1)
                assert count > PART * PARTS

    run(go())


def test_a_response_whose_upload_is_deleted_meanwhile_ends_and_leaks_nothing(tmp_path: Path, run: Run) -> None:
    async def go() -> None:
        async with serving(tmp_path) as server:
            await settled(lambda: not server.receiver.connections)
            before = descriptors()
            for _ in range(10):
                place = await large_upload(server)
                async with slow_reader(server) as client, server.client() as other:
                    await client.begin("GET", f"{place}/content")
                    await client.read(1)
                    assert (await other.ask("DELETE", place)).status == 204
                    assert 0 < await rest_of(client) < PART * PARTS
            await settled(lambda: not server.receiver.connections and descriptors() == before)

    run(go())


def test_a_client_that_was_asked_to_go_on_and_does_not_is_disconnected(tmp_path: Path, run: Run) -> None:
    async def go() -> None:
        async with serving(tmp_path, timing=SHORT) as server:
            before = descriptors()
            async with server.client() as client:
                await client.begin("POST", "/files/", content_length=5, expect="100-continue")
                assert (await client.got()).status == 100
                assert await client.is_closed()
            await settled(lambda: descriptors() == before)
            assert not [*tmp_path.glob("*/*")]

    run(go())


def test_requests_wait_while_the_responses_before_them_are_not_read(tmp_path: Path, run: Run) -> None:
    """Otherwise their responses would pile up in memory."""

    async def go() -> None:
        async with serving(tmp_path, timing=SHORT) as server:
            async with server.client() as client:
                await client.ask("POST", "/files/", bytes(1_000_000))
            path = f"/files/{server.finished[0].id}/content".encode()
            async with slow_reader(server) as client:
                await client.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path * 200)
                await settled(lambda: server.receiver.connections == 0)
                assert await rest_of(client) < 100_000_000

    run(go())


def test_a_head_that_does_not_come_to_an_end_is_not_waited_for(tmp_path: Path, run: Run) -> None:
    """However steadily it comes."""

    async def go() -> None:
        timing = ReceiveTiming(head=0.2)
        async with serving(tmp_path, timing=timing) as server, server.client() as client, asyncio.timeout(PATIENCE):
            await client.send(b"POST /files/ HTTP/1.1\r\nHost: x\r\nX: ")
            got = asyncio.create_task(client.got())
            while not got.done():
                await client.send(b"x")
                await asyncio.sleep(0.01)
            assert (got.result().status, got.result().headers["connection"]) == (408, "close")

    run(go())


def test_a_connection_that_idles_after_a_request_is_closed_without_an_answer(tmp_path: Path, run: Run) -> None:
    """Its next head has the time of a head, however long it idled."""

    async def go() -> None:
        async with serving(tmp_path, timing=ReceiveTiming(idle=0.1)) as server, server.client() as client:
            assert (await client.ask("GET", "/files/")).status == 405
            assert await client.is_closed()
        async with serving(tmp_path, timing=ReceiveTiming(head=0.1)) as server, server.client() as client:
            assert (await client.ask("GET", "/files/")).status == 405
            await client.send(b"GET")
            assert (await client.got()).status == 408

    run(go())


def test_an_idle_connection_is_closed_without_an_answer(tmp_path: Path, run: Run) -> None:
    async def go() -> None:
        async with serving(tmp_path, timing=ReceiveTiming(head=0.05)) as server, server.client() as client:
            assert await client.is_closed()

    run(go())


def test_a_body_that_stops_coming_is_not_waited_for_and_what_came_is_kept(tmp_path: Path, run: Run) -> None:
    async def go() -> None:
        more = {"upload_complete": "?1", "content_type": PARTIAL}
        async with serving(tmp_path, timing=ReceiveTiming(body=0.2)) as server:
            async with server.client() as client:
                place = (await client.ask("POST", "/files/", upload_complete="?0")).headers["location"]
                await client.begin("PATCH", place, content_length=BUFFER + 5, upload_offset=0, **more)
                await client.send(bytes(BUFFER))
                assert await client.is_closed()
            async with server.client() as client:
                assert (await client.ask("HEAD", place)).headers["upload-offset"] == str(BUFFER)
                assert (await client.ask("PATCH", place, b"hello", upload_offset=BUFFER, **more)).status == 201

    run(go())
