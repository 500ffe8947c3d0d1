"""An application whose responses do not end: `/socket` is upgraded and echoes bytes, `/events` sends one every 50 ms.

Its frames are bare bytes: what lies between a client and an application passes on bytes after an upgrade.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable
from pathlib import Path


class App:
    def __init__(self, name: str, version: str, lame_duck: Path) -> None:
        self._hello = {"instance": name, "version": version}
        self._lame_duck = lame_duck
        self._open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            path, upgrade = head.split(" ")[1], "upgrade: websocket" in head.lower()
            if path == "/readyz":
                self._answer(writer, 503 if self._lame_duck.exists() else 200, {})
            elif path == "/inflight":
                self._answer(writer, 200, {"requests": self._open, "connections": self._open, "uploads": []})
            elif path == "/socket" and upgrade:
                await self._long(self._echo(reader, writer))
            elif path == "/events":
                await self._long(self._events(writer))
            else:
                self._answer(writer, 200, self._hello)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _long(self, response: Awaitable[None]) -> None:
        self._open += 1
        try:
            await response
        finally:
            self._open -= 1

    @staticmethod
    def _answer(writer: asyncio.StreamWriter, status: int, body: object) -> None:
        text = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\nContent-Type: application/json\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + text)

    @staticmethod
    async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while data := await reader.read(1000):
            writer.write(data)
            await writer.drain()

    @staticmethod
    async def _events(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        number = 0
        while True:
            event = f"data: {(number := number + 1)}\n\n".encode()
            writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)


async def main(port: str, name: str, version: str, lame_duck: str) -> None:
    app = App(name, version, Path(lame_duck))
    server = await asyncio.start_server(app.serve, "127.0.0.1", int(port))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
