"""The moments between socket and application, which no outside observer could hit on purpose."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from changeover.example_app.catalog import Catalog
from changeover.example_app.config import AppConfig
from changeover.example_app.endpoints import endpoints, library
from changeover.example_app.in_flight import Board, Counted, CountedProtocol
from changeover.example_app.server import serve
from changeover.model.errors import ChangeoverError


class Transport(asyncio.Transport):
    """Takes everything and keeps the order in which things happened."""

    def __init__(self, board: Board) -> None:
        super().__init__()
        self.requests_at_write: list[int] = []
        self._board = board

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.requests_at_write.append(self._board.report()["requests"])

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def connect(board: Board) -> tuple[CountedProtocol, Transport]:
    app = Counted(hello, board, Path("/nonexistent"))
    config = uvicorn.Config(app, http=CountedProtocol, ws="none", lifespan="off", log_config=None)
    protocol = CountedProtocol(config, board, {})
    transport = Transport(board)
    protocol.connection_made(transport)
    return protocol, transport


def test_a_request_counts_from_the_end_of_its_head_until_its_last_byte_is_written() -> None:
    async def story() -> None:
        board = Board()
        protocol, transport = connect(board)
        protocol.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n")
        assert board.report()["requests"] == 0
        protocol.data_received(b"\r\n")
        assert board.report()["requests"] == 1  # nothing was awaited: the application has not run yet
        await asyncio.gather(*board.tasks)
        assert transport.requests_at_write == [1, 1]  # head and body
        assert board.report()["requests"] == 0
        protocol.connection_lost(None)
        assert board.report()["connections"] == 0

    asyncio.run(story())


def test_requests_pipelined_in_one_read_all_count() -> None:
    async def story() -> None:
        board = Board()
        protocol, _ = connect(board)
        protocol.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3 + b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert board.report()["requests"] == 3
        protocol.connection_lost(None)
        await asyncio.gather(*board.tasks)
        assert board.report()["requests"] == 0

    asyncio.run(story())


def test_a_checkers_connection_counts_again_with_the_first_byte_of_another_request() -> None:
    async def story() -> None:
        board = Board()
        protocol, _ = connect(board)
        protocol.data_received(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.gather(*board.tasks)
        assert board.report()["connections"] == 0
        protocol.data_received(b"G")
        assert board.report()["connections"] == 1
        protocol.connection_lost(None)

    asyncio.run(story())


def test_a_client_that_takes_a_blob_without_end_leaves_turns_to_others(tmp_path: Path) -> None:
    async def story() -> None:
        turns = 0
        turns_at_chunk = []
        folder = Catalog(tmp_path)
        files = library("v1", "runtime-1", folder, tmp_path)
        app = endpoints("v1", "runtime-1", tmp_path / "lame-duck", folder, Board(), files)

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async def never() -> Message:
            return await asyncio.Future[Message]()

        async def take(message: Message) -> None:
            turns_at_chunk.append(turns)

        scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/blob/1000000", "headers": []}
        task = asyncio.create_task(others())
        await app(scope, never, take)
        task.cancel()
        chunks = turns_at_chunk[1:-1]  # without the head and the empty end
        assert len(chunks) == 16
        assert chunks == sorted(set(chunks))

    asyncio.run(story())


def test_an_address_in_use_is_said_before_anything_starts(tmp_path: Path) -> None:
    async def story() -> None:
        taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        async with taken:
            port = taken.sockets[0].getsockname()[1]
            await serve(AppConfig("127.0.0.1", port, "runtime-1", "v1", tmp_path, tmp_path / "lame-duck"))

    with pytest.raises(ChangeoverError, match=r"runtime-1: cannot listen on 127\.0\.0\.1:\d+: Address"):
        asyncio.run(story())


def test_a_folder_that_cannot_be_made_is_said_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    config = AppConfig("127.0.0.1", 0, "runtime-1", "v1", tmp_path / "file", tmp_path / "lame-duck")
    with pytest.raises(ChangeoverError, match="runtime-1: cannot store uploads in"):
        asyncio.run(serve(config))
