"""The shutdown of the receiver: requests in flight are finished or interrupted, and it ends with its grace."""

from __future__ import annotations

import asyncio
import signal
import sys
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
    Server,
    descriptors,
    large_upload,
    serving,
    settled,
    slow_reader,
)

from changeover.uploads import CompletedUpload, FileStore, Response, UploadEvent
from changeover.uploads.core.engine import Engine
from changeover.uploads.server.body import ReceiveTiming
from changeover.uploads.server.receive import Receiver

Run = Callable[[Any], Any]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    return request.param  # type: ignore[no-any-return]


def test_a_shutdown_interrupts_uploads_that_can_resume_and_finishes_plain_ones(tmp_path: Path, run: Run) -> None:
    async def go() -> None:
        async with (
            serving(tmp_path) as server,
            server.client() as resumable,
            server.client() as plain,
            server.client() as idle,
        ):
            place = (await resumable.ask("POST", "/files/", upload_complete="?0")).headers["location"]
            more = {"upload_offset": 0, "upload_complete": "?1", "content_type": PARTIAL}
            await resumable.begin("PATCH", place, content_length=10, expect="100-continue", **more)
            assert (await resumable.got()).status == 100  # it is being taken
            await plain.begin("POST", "/files/", content_length=10, expect="100-continue")
            assert (await plain.got()).status == 100
            await plain.send(b"01234")
            assert (await idle.ask("GET", "/elsewhere")).status == 404
            leaving = asyncio.create_task(server.receiver.leave())
            told = await resumable.got()
            assert (told.status, told.headers["upload-complete"]) == (503, "?0")
            assert await idle.is_closed()
            await plain.send(b"56789")
            assert (await plain.got()).status == 201
            resumable.hang_up()
            plain.hang_up()
            await leaving
        assert [one.size for one in server.finished] == [10]

    run(go())


def test_a_shutdown_delivers_every_event(tmp_path: Path, run: Run) -> None:
    async def go() -> None:
        go_on, heard = asyncio.Event(), list[str]()

        async def listener(event: UploadEvent) -> None:
            await go_on.wait()
            heard.append(event.kind)

        async def on_complete(_: CompletedUpload) -> Response:
            return Response(201)

        engine = Engine(FileStore(tmp_path, durable=False), on_complete, on_event=listener)
        async with Receiver(engine, "127.0.0.1", 0) as receiver:
            async with Server(receiver, []).client() as client:
                assert (await client.ask("POST", "/files/", b"hello")).status == 201
            asyncio.get_running_loop().call_later(0.1, go_on.set)
        assert heard == ["created", "progress", "completed", "handled"]

    run(go())


def test_a_response_that_a_shutdown_meets_is_read_to_its_end_and_then_its_connection_closes(
    tmp_path: Path, run: Run
) -> None:
    async def go() -> None:
        async with serving(tmp_path) as server:
            place = await large_upload(server)
            async with slow_reader(server) as client, asyncio.timeout(PATIENCE):
                await client.begin("GET", f"{place}/content")
                await client.read(1)
                leaving = asyncio.create_task(server.receiver.leave())
                count = 0
                while data := await client.read(1_000_000):
                    count += len(data)
                assert count > PART * PARTS
                client.hang_up()
                await leaving

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
