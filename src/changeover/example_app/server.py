"""The server of the example application, at the inner end of a chain.

On SIGTERM it accepts no new connection and finishes the requests it has, however long they take: the controller, which
sends the signal, bounds the drain. Refuses to run without its address or its folder. Its responses are in `endpoints`.
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

from changeover.example_app.catalog import Catalog
from changeover.example_app.config import AppConfig
from changeover.example_app.endpoints import endpoints, library
from changeover.example_app.in_flight import Board, Counted, CountedProtocol
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
    catalog, files = _uploads(config)
    listener = _listener(config)
    board = Board()
    app = endpoints(config.version, config.instance, config.lame_duck_file, catalog, board, files)
    settings = uvicorn.Config(
        Counted(app, board, config.lame_duck_file),
        http=CountedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        # As default headers of uvicorn they are also in its own responses, such as a 400.
        headers=[("X-Changeover-Instance", config.instance), ("X-Changeover-Version", config.version)],
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE,
    )
    async with files.running():
        name = f"{config.instance} ({config.version})"
        await _AppServer(settings, board, name, files.leave).serve(sockets=[listener])


class _AppServer(uvicorn.Server):
    """Uvicorn that announces its start and its stop, ends with exit code 0 on SIGTERM, and does so at once.

    Uvicorn itself checks for a signal ten times a second, and then waits another tenth even without connections. For a
    drained instance, on whose place the next one waits, that would be most of its shutdown.
    """

    def __init__(self, config: uvicorn.Config, board: Board, name: str, leave: Callable[[], Awaitable[object]]) -> None:
        super().__init__(config)
        self.server_state = board
        self._board = board
        self._name = name
        self._signalled = asyncio.Event()
        self._leave = leave

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for each in sockets or ():
            host, port = each.getsockname()[:2]
            print(f"{self._name}: listening on {host}:{port}", file=sys.stderr, flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._signalled.set()

    async def main_loop(self) -> None:
        counter = 0
        while not await self.on_tick(counter):
            counter = (counter + 1) % 10  # every tenth tick brings the Date header up to date
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await self._signalled.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Beside the closing of listeners and idle connections: a plain upload that begins now would get 503.
        leaving = asyncio.ensure_future(self._leave())
        if self._board.connections or self._board.tasks:
            await super().shutdown(sockets)
        else:
            for listening in (*self.servers, *(sockets or ())):
                listening.close()
        await leaving
        print(f"{self._name}: stopped", file=sys.stderr, flush=True)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn's own version raises the signal again at the end, which would kill the process."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.handle_exit, number, None)
        yield


def _uploads(config: AppConfig) -> tuple[Catalog, Uploads]:
    try:
        catalog = Catalog(config.shared)
        return catalog, library(config.version, config.instance, catalog, config.shared)
    except OSError as error:
        raise fail(
            f"cannot store uploads in {config.shared}: {error.strerror}",
            where=config.instance,
            state="The instance was not started.",
            next="Choose a folder that it may write to.",
        ) from error


def _listener(config: AppConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        found = socket.create_server((config.host, config.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise fail(
            f"cannot listen on {config.host}:{config.port}: {error.strerror}",
            where=config.instance,
            state="The instance was not started.",
            next="Free that address, or give the instance another one.",
        ) from error
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio sets it only where the protocol is named
    return found
