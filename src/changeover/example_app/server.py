"""The example application at the inner end of a chain, as a process: listens, says so, leaves politely.

It stands for any runtime behind the proxies. On SIGTERM it takes no new connection and finishes what it has,
however long that takes: bounding a drain is the business of whoever sends the signal.

Refuses to run without its address or its folder; what it answers is in `endpoints`.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import uvicorn

from changeover.example_app.config import AppConfig
from changeover.example_app.endpoints import endpoints, library
from changeover.example_app.in_flight import Board, Counted, CountedProtocol
from changeover.example_app.uploads_folder import UploadsFolder
from changeover.kit import event_loop
from changeover.model.errors import fail
from changeover.uploads import Uploads

_BACKLOG = 2048
"""Connections the kernel may queue while the event loop is busy; a full queue is a refused client."""

_KEEP_ALIVE = 75
"""Seconds a connection may idle. Longer than the pools of the proxies in front (60 s is common), so that they
close first: a server that does so will sooner or later do it just as a request comes in; that is a 502."""


def run(config: AppConfig) -> None:
    """Serve until SIGTERM, in a process of its own."""
    event_loop.run(serve(config))


async def serve(config: AppConfig) -> None:
    """Serve until SIGTERM or SIGINT, finish every request, return. Needs the main thread of its process."""
    folder, files = _folder(config)
    listener = _listener(config)
    board = Board()
    app = endpoints(config.version, config.instance, config.lame_duck_file, folder, board, files)
    settings = uvicorn.Config(
        Counted(app, board, config.lame_duck_file),
        http=CountedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        # As uvicorn's default headers they are also on what it answers by itself, such as a 400.
        headers=[("X-Changeover-Instance", config.instance), ("X-Changeover-Version", config.version)],
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE,
    )
    async with files.running():
        name = f"{config.instance} ({config.version})"
        await _Server(settings, board, name, files.leave).serve(sockets=[listener])


class _Server(uvicorn.Server):
    """Uvicorn, which says when it starts and stops, ends a process that was asked to stop with 0, and does so at once.

    It looks ten times a second whether it is to stop, and waits a tenth more for connections that are not there: of a
    drained instance, whose place the next one waits for, that would be most of the time it takes to end.
    """

    def __init__(self, config: uvicorn.Config, board: Board, name: str, leave: Callable[[], Awaitable[object]]) -> None:
        super().__init__(config)
        self.server_state = board
        self._board = board
        self._name = name
        self._told = asyncio.Event()
        self._leave = leave

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for each in sockets or ():
            host, port = each.getsockname()[:2]
            print(f"{self._name}: listening on {host}:{port}", file=sys.stderr, flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._told.set()

    async def main_loop(self) -> None:
        counter = 0
        while not await self.on_tick(counter):
            counter = (counter + 1) % 10  # every tenth tick brings the Date header up to date
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await self._told.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._leave()  # whose client can go on elsewhere is sent there; the others are waited for
        if self._board.connections or self._board.tasks:
            await super().shutdown(sockets)
        else:
            for listening in (*self.servers, *(sockets or ())):
                listening.close()
        print(f"{self._name}: stopped", file=sys.stderr, flush=True)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Instead of uvicorn's, which raises the signal again at the end: the process would die of it."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.handle_exit, number, None)
        yield


def _folder(config: AppConfig) -> tuple[UploadsFolder, Uploads]:
    try:
        folder = UploadsFolder(config.shared)
        return folder, library(config.version, config.instance, folder, config.shared)
    except OSError as error:
        raise fail(
            f"cannot keep uploads in {config.shared}: {error.strerror}",
            where=config.instance,
            state="The instance was not started.",
            next="Name a folder it may write to.",
        ) from error


def _listener(config: AppConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise fail(
            f"cannot listen on {config.host}:{config.port}: {error.strerror}",
            where=config.instance,
            state="The instance was not started.",
            next="Free that address, or give the instance another one.",
        ) from error
