"""A server for tests of the probe: the application's responses from memory, with faults on demand.

It replaces a whole chain: successive connections reach successive `instances`. A `Plan` selects the fault of a request.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import ssl
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

import h11

from changeover.kit.pattern import pattern

Fault = Literal[
    "reset",  # RST instead of a response
    "close",  # the end of the stream instead of a response
    "short",  # half a body, then the end of the stream
    "cut",  # half a body, then RST
    "flip",  # one byte of the body differs
    "refuse",  # 502 after the request was read
    "refuse early",  # 502 as soon as the head was read, then the end: the client gets a reset while it sends
    "garbage",  # bytes that are not HTTP
    "stall",  # no response, while the server runs
    "sit",  # the same, and the body is not read either
    "hang up",  # a good response, and then the end of the connection without notice
    "twice",  # an upload is stored twice
    "once more",  # the same, but the second copy appears only after the first check
    "wrong hash",  # an upload is acknowledged with another hash
    "forget",  # an upload is acknowledged and not stored
    "unlisted",  # an upload is acknowledged and stored, but not found by its reference
    "mute",  # an upload is stored and the connection ends without a response
    "mute twice",  # the same, but it is stored twice
]
Plan = Callable[[str, int], Fault | None]
"""(`GET /hello`, number of such requests before) -> the fault of this one."""


class ConnectionEnded(Exception):
    """The server has ended this connection."""


class ProbedServer:
    """Listens during the block of an `async with`."""

    def __init__(self, plan: Plan | None = None, *, tls: ssl.SSLContext | None = None, instances: int = 2) -> None:
        self.plan = plan or (lambda what, before: None)
        self.tls = tls
        self.instances = instances
        self.open = asyncio.Event()
        """While cleared, GETs wait for their response."""
        self.open.set()
        self.connections = 0
        self.uploads: dict[str, bytes] = {}
        self.refs: dict[str, list[str]] = {}
        self.asked: dict[str, int] = {}
        self.late: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self.tls, backlog=512)
        scheme = "https" if self.tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def all_gone(self) -> None:
        """Wait until every client has disconnected."""
        await asyncio.gather(*self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        name = f"a{self.connections % self.instances + 1}"
        task = asyncio.create_task(self._serve(ServerConnection(reader, writer), name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, line: ServerConnection, instance: str) -> None:
        try:
            while request := await line.request():
                await self._answer(line, instance, request)
                await line.next()
        except (ConnectionEnded, OSError, h11.RemoteProtocolError):
            pass
        finally:
            line.writer.transport.abort()

    async def _answer(self, line: ServerConnection, instance: str, request: h11.Request) -> None:
        method, target = request.method.decode(), request.target.decode()
        what = f"{method} /{target.split('/')[1].split('?')[0]}{'/content' * target.endswith('/content')}"
        before = self.asked.get(what, 0)
        self.asked[what] = before + 1
        fault = self.plan(what, before)
        if fault == "refuse early":
            await line.answer(instance, 502, b"no")
            await line.end()
        if fault == "sit":
            line.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.Event().wait()
        if fault in ("reset", "close") and method == "POST":
            await line.data()  # a part of the body has arrived, more follows
            await line.end(reset=fault == "reset", half=True)
        upload = await line.body()
        if method == "GET":
            await self.open.wait()
        match fault:
            case "reset" | "close":
                await line.end(reset=fault == "reset")
            case "garbage":
                await line.end(b"What do you want?\r\n\r\n")
            case "stall":
                await asyncio.Event().wait()
            case "refuse":
                return await line.answer(instance, 502, b"no")
        status, body = self._page(target, instance, upload, dict(request.headers), fault)
        if fault in ("mute", "mute twice"):
            await line.end()
        await line.answer(instance, status, body, fault)
        return None

    def _page(
        self, target: str, instance: str, upload: bytes, headers: dict[bytes, bytes], fault: Fault | None
    ) -> tuple[int, bytes]:
        match target.split("/")[1:]:
            case ["hello"]:
                return 200, as_json(version="v1", instance=instance)
            case ["blob", size]:
                return 200, pattern(0, int(size))
            case ["upload"]:
                return 201, self._store(instance, upload, headers[b"x-upload-ref"].decode(), fault)
            case ["upload", name, "content"] if name in self.uploads:
                return 200, self.uploads[name]
            case [query] if query.startswith("uploads?"):
                ref = query.removeprefix("uploads?ref=")
                ids = self.refs.get(ref, [])
                if ref in self.late:
                    self.refs[ref] = [*ids, self.late.pop(ref)]
                return 200, as_json(ref=ref, ids=ids)
        return 404, b""

    def _store(self, instance: str, body: bytes, ref: str, fault: Fault | None) -> bytes:
        name = f"u{len(self.uploads)}"
        if fault != "forget":
            self.uploads[name] = body
        if fault not in ("forget", "unlisted"):
            self.refs[ref] = [name, name + "-again"] if fault in ("twice", "mute twice") else [name]
        if fault == "once more":
            self.late[ref] = name + "-late"
        sha256 = hashlib.sha256(b"" if fault == "wrong hash" else body).hexdigest()
        return as_json(id=name, bytes=len(body), sha256=sha256, version="v1", instance=instance)


class ServerConnection:
    """One connection, on the server's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.http = h11.Connection(h11.SERVER)

    async def _event(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self.http.next_event()
            if event is not h11.NEED_DATA:
                assert not isinstance(event, type) or event is h11.PAUSED
                return event
            self.http.receive_data(await self.reader.read(65_536))

    async def request(self) -> h11.Request | None:
        event = await self._event()
        return event if isinstance(event, h11.Request) else None

    async def data(self) -> bytes | None:
        event = await self._event()
        return bytes(event.data) if isinstance(event, h11.Data) else None

    async def body(self) -> bytes:
        pieces = []
        while (piece := await self.data()) is not None:
            pieces.append(piece)
        return b"".join(pieces)

    async def next(self) -> None:
        if self.http.our_state is not h11.DONE:
            await self.end()
        self.http.start_next_cycle()

    async def answer(self, instance: str, status: int, body: bytes, fault: Fault | None = None) -> None:
        headers = [
            ("Content-Length", str(len(body))),
            ("X-Changeover-Instance", instance),
            ("X-Changeover-Version", "v1"),
        ]
        head = self.http.send(h11.Response(status_code=status, headers=headers)) or b""
        if fault in ("short", "cut"):
            self.writer.write(head + body[: len(body) // 2])
            await self.writer.drain()
            await self.end(reset=fault == "cut")
        if fault == "flip":
            body = bytes([body[0] ^ 1]) + body[1:]
        self.writer.write(head + (self.http.send(h11.Data(body)) or b""))
        self.writer.write(self.http.send(h11.EndOfMessage()) or b"")
        await self.writer.drain()
        if fault == "hang up":
            await self.end()

    async def end(self, last: bytes = b"", *, reset: bool = False, half: bool = False) -> None:
        """End the connection. With `reset`, the kernel drops its buffers and sends RST.

        With `half`, the client may continue to send: a full close with unread bytes would be a reset as well.
        """
        self.writer.write(last)
        if half and not reset and self.writer.can_write_eof():  # TLS has no half-close, and sends close_notify first
            self.writer.write_eof()
            await self.reader.read()
        if reset:
            sock = self.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        else:
            self.writer.close()
        raise ConnectionEnded


def as_json(**facts: object) -> bytes:
    return json.dumps(facts).encode()
