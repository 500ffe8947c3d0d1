"""A relay between a client spoken to by hand and whoever stores uploads, with a proxy in between that does harm."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from changeover.relay.config import RelayConfig, RoutePattern
from changeover.relay.process.server import RelayServer
from changeover.uploads import CompletedUpload, FileStore, Response
from changeover.uploads.core.engine import Engine
from changeover.uploads.server.receive import Receiver

PATIENCE = 40.0
SEGMENTED = (RoutePattern(b"POST", b"/upload"),)


@dataclass(frozen=True)
class Harm:
    """What a connection through the proxy suffers: it is reset after that many bytes inward, or of answers."""

    inward: int | None = None
    outward: int | None = None
    stalls: bool = False
    """Instead of being reset it stands still."""


class Toxic:
    """A proxy that harms its n-th connection as `plan` says."""

    def __init__(self, host: str, port: int, plan: Callable[[int], Harm | None]) -> None:
        self.connections = 0
        """So far."""
        self._to = host, port
        self._plan = plan
        self.open: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[str, int]]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[:2]
            for task in self.open:
                task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.open.add(task)
        harm = self._plan(self.connections) or Harm()
        self.connections += 1
        stop = asyncio.Event()
        try:
            inward_reader, inward = await asyncio.open_connection(*self._to)
        except OSError:
            writer.transport.abort()
            return
        both = [
            asyncio.ensure_future(self._carry(reader, inward, harm.inward, stop, ends=False)),
            asyncio.ensure_future(self._carry(inward_reader, writer, harm.outward, stop, ends=True)),
        ]
        try:
            stopped = asyncio.ensure_future(stop.wait())
            await asyncio.wait([*both, stopped], return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set() and harm.stalls:
                await asyncio.Event().wait()
        finally:
            for each in (*both, stopped):
                each.cancel()
            for end in (writer, inward):
                sock: socket.socket = end.get_extra_info("socket")
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                end.transport.abort()
            self.open.discard(task)

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        most: int | None,
        stop: asyncio.Event,
        *,
        ends: bool,
    ) -> None:
        """`ends`: the other side is told of the end, and closes; otherwise both are reset with it."""
        left = most
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if left is not None:
                    data = data[:left]
                    left -= len(data)
                writer.write(data)
                await writer.drain()
                if left == 0:
                    stop.set()
                    await asyncio.Event().wait()
            if ends:
                writer.write_eof()
                await asyncio.Event().wait()


@dataclass(frozen=True)
class Got:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        """The problem document."""
        assert self.headers["content-type"] == "application/problem+json"
        told = json.loads(self.body)
        assert isinstance(told, dict)
        return told


class Client:
    """One connection, spoken to by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()

    def send_at_once(self, data: bytes) -> None:
        """So that the relay, which runs in the same loop, finds all of it."""
        sock: socket.socket = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * len(data))
        with sock.dup() as sending:
            assert sending.send(data) == len(data)

    async def begin(self, method: str, path: str, **headers: object) -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: x"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.send("\r\n".join(lines).encode() + b"\r\n\r\n")

    async def post(self, body: bytes, path: str = "/upload", *, chunk: int = 0, **headers: object) -> Got:
        """A body of known length, or in chunks of that size."""
        if chunk:
            await self.begin("POST", path, transfer_encoding="chunked", **headers)
            for start in range(0, len(body), chunk):
                piece = body[start : start + chunk]
                await self.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
            await self.send(b"0\r\n\r\n")
        else:
            await self.begin("POST", path, content_length=len(body), **headers)
            await self.send(body)
        return await self.got()

    async def head(self) -> tuple[int, dict[str, str]]:
        async with asyncio.timeout(PATIENCE):
            raw = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode().splitlines()
        pairs = (line.partition(": ") for line in lines if line)
        return int(first.split()[1]), {name.lower(): value for name, _, value in pairs}

    async def got(self) -> Got:
        status, headers = await self.head()
        async with asyncio.timeout(PATIENCE):
            if headers.get("transfer-encoding") == "chunked":
                body = b""
                while size := int(await self._reader.readuntil(b"\r\n"), 16):
                    body += await self._reader.readexactly(size)
                    await self._reader.readexactly(2)
                await self._reader.readexactly(2)
            else:
                body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return Got(status, headers, body)

    async def rest(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self._reader.read()

    async def is_closed(self) -> bool:
        async with asyncio.timeout(PATIENCE):
            return await self._reader.read(1) == b""

    def half_close(self) -> None:
        self._writer.write_eof()

    def hang_up(self) -> None:
        self._writer.transport.abort()


@dataclass
class Relayed:
    """A relay that runs in this loop."""

    server: RelayServer
    address: tuple[str, int]
    toxic: Toxic
    finished: list[tuple[str, bytes]] = field(default_factory=list)
    """What the application was given: id and content, each time it was asked."""

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            yield Client(reader, writer)
        finally:
            writer.transport.abort()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def relaying(
    upstream: tuple[str, int], plan: Callable[[int], Harm | None] = lambda _: None, **told: Any
) -> AsyncIterator[Relayed]:
    """A relay in front of that address, with harm in between."""
    toxic = Toxic(*upstream, plan)
    async with toxic.running() as between:
        listener = socket.create_server(("127.0.0.1", 0))
        address = listener.getsockname()
        server = RelayServer(RelayConfig(between, **{"segmented": SEGMENTED, **told}), [listener])
        running = asyncio.ensure_future(server.run())
        try:
            yield Relayed(server, address, toxic)
        finally:
            server.leave()
            async with asyncio.timeout(PATIENCE):
                await running


@asynccontextmanager
async def storing(
    folder: Path, plan: Callable[[int], Harm | None] = lambda _: None, **told: Any
) -> AsyncIterator[Relayed]:
    """A relay in front of the uploads library."""
    finished: list[tuple[str, bytes]] = []

    async def on_complete(one: CompletedUpload) -> Response:
        finished.append((one.id, b"".join([piece async for piece in one.pieces()])))
        return Response(201, (("X-App", "yes"),), await digest(one))

    async def digest(one: CompletedUpload) -> bytes:
        return (await one.digest()).encode()

    engine = Engine(FileStore(folder, durable=False), on_complete)
    receiver = Receiver(engine, "127.0.0.1", 0, root="/upload")
    async with receiver, relaying(receiver.address, plan, **told) as relayed:
        relayed.finished = finished
        yield relayed


@asynccontextmanager
async def application(app: ASGIApp) -> AsyncIterator[tuple[str, int]]:
    """An ASGI application behind uvicorn, in this loop."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1))
    serving = asyncio.ensure_future(server._serve([listener]))  # without its handlers of signals
    try:
        yield listener.getsockname()
    finally:
        server.should_exit = True
        await serving


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted(serve: Serve) -> AsyncIterator[tuple[str, int]]:
    """An application that does what the test says, for every connection."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[:2]


async def request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    """The next request: its first line, fields, and body of known length. Raises IncompleteReadError at the end."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    return first, headers, await reader.readexactly(int(headers.get("content-length", 0)))
