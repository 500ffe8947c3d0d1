"""The server behind the last hop of an example: the lab's own, so that it can be replaced, or fail, when it shall."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field

_ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER with a time of 0: closing resets the connection."""


@dataclass
class Origin:
    """`carried_out` counts the requests whose body came whole, by name. `resets`: how it fails."""

    port: int
    failing: int = 0
    """Requests that are still to be carried out and not answered: their connection is reset."""
    every_second: bool = False
    """Whether every second connection is reset before anything is read, as one to an instance that has gone."""
    carried_out: Counter[str] = field(default_factory=Counter)
    _server: asyncio.Server | None = None
    _connections: set[asyncio.StreamWriter] = field(default_factory=set)
    accepted: int = 0
    _full: list[socket.socket] = field(default_factory=list)
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def replace(self, drain: float) -> None:
        """After a drain of so many seconds, cut the connections that are there now. New ones reach the new instance."""
        before = set(self._connections)
        await asyncio.sleep(drain)
        for writer in before & self._connections:
            _reset(writer)

    def vanish(self) -> None:
        """From now on, drop the packets of new connections, as those to a deleted machine: its queue is full."""
        if self._server is not None:
            self._server.close()
        self._full = [socket.socket() for _ in range(8)]
        self._full[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._full[0].bind(("127.0.0.1", self.port))
        self._full[0].listen(0)
        for one in self._full[1:]:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", self.port))

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._connections:
            writer.transport.abort()
        for one in self._full:
            one.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self._connections.add(writer)
        self.accepted += 1
        try:
            if self.every_second and self.accepted % 2:
                _reset(writer)
                return
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while await self._answer(reader, writer):
                    pass
        except asyncio.CancelledError:
            pass  # by `close`; the callback of start_server would report it as a fault
        finally:
            self._connections.discard(writer)
            self._serving.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether another may follow."""
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, version = lines[0].split()
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        if fields.get("expect") == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        size = left = int(fields.get("content-length", "0"))
        while left:
            piece = await reader.read(min(65536, left))
            if not piece:
                return False
            left -= len(piece)
        name, wait = path.split("/")[-2:]
        self.carried_out[name] += 1
        if self.failing:
            self.failing -= 1
            _reset(writer)
            return False
        text = f"{name} {size}".encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\nX-Accel-Buffering: no\r\n\r\n".encode()
        if method == "GET":
            writer.write(head + text[:1])
            await asyncio.sleep(float(wait))
            writer.write(text[1:])
        else:
            await asyncio.sleep(float(wait))
            writer.write(head + text)
        await writer.drain()
        return version == "HTTP/1.1" and fields.get("connection") != "close"


def _reset(writer: asyncio.StreamWriter) -> None:
    found = writer.get_extra_info("socket")
    if found is not None:
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    writer.transport.abort()
