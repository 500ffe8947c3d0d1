"""The receiver of uploads over real connections: a server in this loop, and a client whose bytes the test chooses."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from changeover.uploads import CompletedUpload, Cors, FileStore, Limits, Response
from changeover.uploads.core.engine import Engine
from changeover.uploads.dialects.public_url import PublicUrl
from changeover.uploads.server.body import ReceiveTiming
from changeover.uploads.server.receive import Receiver

PATIENCE = 40.0
PARTIAL = "application/partial-upload"
PART = 4_000_000
PARTS = 5


@dataclass(frozen=True)
class Got:
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection, spoken to by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()

    async def begin(self, method: str, path: str, **headers: object) -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: x"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.send("\r\n".join(lines).encode() + b"\r\n\r\n")

    async def got(self, *, head: bool = False) -> Got:
        async with asyncio.timeout(PATIENCE):
            raw = await self._reader.readuntil(b"\r\n\r\n")
            first, *lines = raw.decode().splitlines()
            pairs = (line.partition(": ") for line in lines if line)
            headers = {name.lower(): value for name, _, value in pairs}
            size = 0 if head else int(headers.get("content-length", 0))
            return Got(int(first.split()[1]), headers, await self._reader.readexactly(size))

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: object) -> Got:
        await self.begin(method, path, content_length=len(body), **headers)
        await self.send(body)
        return await self.got(head=method == "HEAD")

    async def read(self, most: int) -> bytes:
        """Empty where the connection is closed."""
        return await self._reader.read(most)

    async def is_closed(self) -> bool:
        async with asyncio.timeout(PATIENCE):
            return await self._reader.read(1) == b""

    def half_close(self) -> None:
        self._writer.write_eof()

    def hang_up(self) -> None:
        self._writer.transport.abort()


class Server:
    def __init__(self, receiver: Receiver, finished: list[CompletedUpload]) -> None:
        self.receiver = receiver
        self.finished = finished

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection(*self.receiver.address)
        try:
            yield Client(reader, writer)
        finally:
            writer.transport.abort()


@asynccontextmanager
async def serving(
    folder: Path,
    limits: Limits | None = None,
    *,
    status: int = 201,
    timing: ReceiveTiming | None = None,
    public_url: PublicUrl | None = None,
    cors: Cors | None = None,
    port: int = 0,
) -> AsyncIterator[Server]:
    finished: list[CompletedUpload] = []

    async def on_complete(one: CompletedUpload) -> Response:
        finished.append(one)
        return Response(status, (), (await one.digest()).encode())

    store = FileStore(folder, durable=False)
    engine = Engine(store, on_complete, limits)
    async with Receiver(engine, "127.0.0.1", port, timing=timing, public_url=public_url, cors=cors) as receiver:
        yield Server(receiver, finished)


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


async def settled(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not is_so():
            await asyncio.sleep(0.01)


def descriptors() -> int:
    return len([*Path("/proc/self/fd").iterdir()])
