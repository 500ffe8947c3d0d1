"""An application whose responses do not end: `/socket` is upgraded and echoes, `/events` sends one every 50 ms.

With `Sec-WebSocket-Key` the socket speaks the protocol, and closes with 1001 when the lame-duck file appears; without,
it echoes bare bytes, and stays. The events begin with `retry:`, and their response ends when the file appears.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable
from pathlib import Path

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Message, Request


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
            elif path == "/socket" and upgrade and "sec-websocket-key" in head.lower():
                await self._long(self._websocket(head, reader, writer))
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

    async def _websocket(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection, closing = WSConnection(ConnectionType.SERVER), False
        connection.receive_data(head.encode("latin-1"))
        while True:
            for event in connection.events():
                match event:
                    case Request():
                        writer.write(connection.send(AcceptConnection()))
                    case Message(data=data):
                        writer.write(connection.send(Message(data)))
                    case CloseConnection():
                        if not closing:
                            writer.write(connection.send(event.response()))
                        return
            if self._lame_duck.exists() and not closing:
                closing = True
                writer.write(connection.send(CloseConnection(code=1001, reason="the instance is replaced")))
            with contextlib.suppress(TimeoutError):
                if not (received := await asyncio.wait_for(reader.read(1000), 0.05)):
                    return
                connection.receive_data(received)

    async def _events(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"c\r\nretry: 100\n\n\r\n")
        number = 0
        while not self._lame_duck.exists():
            event = f"data: {(number := number + 1)}\n\n".encode()
            writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)
        writer.write(b"0\r\n\r\n")


async def main(port: str, name: str, version: str, lame_duck: str) -> None:
    app = App(name, version, Path(lame_duck))
    server = await asyncio.start_server(app.serve, "127.0.0.1", int(port))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
