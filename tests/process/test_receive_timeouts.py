"""Clients of the receiver that read, send or move nothing: each is disconnected, and none holds up a shutdown."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.process.received import PARTIAL, PATIENCE, Client, Server, serving

from changeover.uploads import CompletedUpload, FileStore, Response
from changeover.uploads.core.engine import Engine
from changeover.uploads.server.body import ReceiveTiming
from changeover.uploads.server.receive import Receiver

Run = Callable[[Any], Any]
PART = 4_000_000
PARTS = 5
SHORT = ReceiveTiming(body=0.3, write=0.3, linger=0.3, leaving=0.3)


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    return request.param  # type: ignore[no-any-return]


async def large_upload(server: Server) -> str:
    """The path of a complete upload in several segments, larger than what kernels buffer."""
    async with server.client() as client:
        place = (await client.ask("POST", "/files/", upload_complete="?0")).headers["location"]
        for number in range(PARTS):
            more = {"upload_offset": number * PART, "content_type": PARTIAL}
            is_last = number == PARTS - 1
            got = await client.ask("PATCH", place, bytes(PART), upload_complete=f"?{int(is_last)}", **more)
            assert got.status == (201 if is_last else 204)
        return place


@asynccontextmanager
async def slow_reader(server: Server) -> AsyncIterator[Client]:
    """A client whose kernel takes little that the client does not read."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, server.receiver.address)
    reader, writer = await asyncio.open_connection(sock=sock, limit=4096)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def rest_of(client: Client) -> int:
    """Bytes until the server closes or resets the connection."""
    count = 0
    with suppress(ConnectionError):
        async with asyncio.timeout(PATIENCE):
            while data := await client.read(1_000_000):
                count += len(data)
    return count


async def settled(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not is_so():
            await asyncio.sleep(0.01)


def descriptors() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


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


def test_a_shutdown_does_not_wait_for_clients_that_move_no_byte(tmp_path: Path, run: Run) -> None:
    async def go() -> None:
        timing = ReceiveTiming(leaving=0.3, linger=0.3)
        async with serving(tmp_path, timing=timing) as server:
            place = await large_upload(server)
            before = descriptors()
            async with slow_reader(server) as reading, server.client() as sending, server.client() as begun:
                await reading.begin("GET", f"{place}/content")
                await reading.read(1)
                await sending.begin("POST", "/files/", content_length=5, expect="100-continue")
                assert (await sending.got()).status == 100
                await begun.send(b"POST /files/ HTTP/1.1\r\n")
                await settled(lambda: server.receiver.connections == 3)
                async with asyncio.timeout(PATIENCE):
                    await server.receiver.leave()
                assert server.receiver.connections == 0
            await settled(lambda: descriptors() < before)  # it listens no more

    run(go())


def test_a_shutdown_ends_with_its_grace(tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """A client that sends a byte now and then, and a handler that never returns."""

    async def go() -> None:
        called = asyncio.Event()

        async def on_complete(_: CompletedUpload) -> Response:
            called.set()
            await asyncio.Event().wait()
            raise AssertionError("it never returns")

        async def drip(client: Client) -> None:
            while True:
                await client.send(b"x")
                await asyncio.sleep(0.05)

        timing = ReceiveTiming(grace=0.6, leaving=0.3)
        engine = Engine(FileStore(tmp_path, durable=False), on_complete)
        async with Receiver(engine, "127.0.0.1", 0, timing=timing) as receiver:
            server = Server(receiver, [])
            async with server.client() as dripping, server.client() as handled:
                await dripping.begin("POST", "/files/", content_length=1000, expect="100-continue")
                assert (await dripping.got()).status == 100
                sending = asyncio.create_task(drip(dripping))
                await handled.begin("POST", "/files/", content_length=5)
                await handled.send(b"hello")
                await called.wait()
                async with asyncio.timeout(PATIENCE):
                    await receiver.leave()
                await settled(lambda: receiver.connections == 0)
                with suppress(ConnectionError, RuntimeError):  # uvloop raises the latter
                    await sending
        assert "2 connections open" in caplog.text

    run(go())


def test_the_command_ends_at_the_end_of_its_grace(tmp_path: Path) -> None:
    async def go() -> None:
        argv = [
            sys.executable,
            "-m",
            "changeover",
            "receive",
            "--port",
            "0",
            "--folder",
            str(tmp_path),
            "--grace",
            "1s",
        ]
        process = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        try:
            async with asyncio.timeout(PATIENCE):
                port = int((await process.stderr.readline()).decode().rpartition(":")[2].partition("/")[0])
                client = Client(*await asyncio.open_connection("127.0.0.1", port))
                await client.begin("POST", "/files/", content_length=1000, expect="100-continue")
                assert (await client.got()).status == 100
                process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0
                assert b"grace of 1 s ended with 1 connections open" in await process.stderr.read()
                client.hang_up()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    asyncio.run(go())
