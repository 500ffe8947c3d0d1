"""The client that asks control ports: one connection for each request, a short timeout, no redirects, no retries.

The server could close a kept connection between two requests, and would count it as a client's connection. It speaks
plain HTTP with h11 on asyncio: httpx takes 10 MB, which an agent has not, and two and a half times the CPU, of which
the looks at a fleet consist. Refuses bodies over `LARGEST`, and TLS (`kit.http`).
"""

from __future__ import annotations

import asyncio
import json as json_text
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import h11

LARGEST = 16 * 1024 * 1024
"""Bytes of a response: more than `/clusters` of an Envoy with thousands of members."""
_PIECE = 64 * 1024
AT_ONCE = 200
"""Requests of one client at a time; further ones wait. Each holds a descriptor, and a user may have 1,024."""


class NoResponse(Exception):
    """The server did not respond in time or not with HTTP; the text names the request and the cause."""


@dataclass(frozen=True)
class DirectResponse:
    """`headers`: names in lower case; of a repeated one the last value."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode(errors="replace")

    def json(self) -> Any:
        """Raises ValueError."""
        return json_text.loads(self.content)


@dataclass(frozen=True)
class DirectClient:
    """`timeout`: seconds for a whole request, its wait behind `AT_ONCE` others not included."""

    timeout: float = 2.0
    _free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE), repr=False, compare=False)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        timeout: float | None = None,
        socket: str = "",
    ) -> DirectResponse:
        """The response of `http://HOST:PORT/PATH`, with any status. Raises NoResponse.

        `socket`: a Unix socket to connect to in place of that host; it may be as long as a path may be.
        """
        parts = urlsplit(url)
        target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        fields = {"Host": parts.netloc, **{name.title(): value for name, value in (headers or {}).items()}}
        content = b"" if json is None else json_text.dumps(json).encode()
        if content:
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
        asked = f"{method} {target} at {socket}" if socket else f"{method} {url}"
        async with self._free:
            try:
                async with asyncio.timeout(self.timeout if timeout is None else timeout):
                    if socket:
                        reader, writer = await _connect(socket)
                    else:
                        reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
                    try:
                        return await _exchange(reader, writer, method, target, fields, content)
                    finally:
                        writer.close()
            except TimeoutError as error:
                raise NoResponse(f"{asked}: no response in time") from error
            except OSError as error:
                known = error.errno is not None and error.errno > 0  # a name that does not resolve has another number
                raise NoResponse(f"{asked}: {os.strerror(error.errno or 0) if known else error}") from error
            except h11.ProtocolError as error:
                raise NoResponse(f"{asked}: {error}") from error


async def _connect(socket: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A socket's path may have 107 characters, a folder's may have more: go through an open descriptor."""
    folder, name = os.path.split(socket)
    opened = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        return await asyncio.open_unix_connection(f"/proc/self/fd/{opened}/{name}")
    finally:
        os.close(opened)


async def _exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    method: str,
    target: str,
    fields: Mapping[str, str],
    content: bytes,
) -> DirectResponse:
    connection = h11.Connection(h11.CLIENT)
    headers = [*fields.items(), ("Connection", "close")]
    for part in (h11.Request(method=method, target=target, headers=headers), h11.Data(content), h11.EndOfMessage()):
        writer.write(connection.send(part) or b"")
    head, body = None, bytearray()
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > LARGEST:
                raise h11.RemoteProtocolError(f"the response has more than {LARGEST} bytes")
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            fields = {name.decode(): value.decode("latin-1") for name, value in head.headers}
            return DirectResponse(head.status_code, fields, bytes(body))
        elif not isinstance(event, h11.InformationalResponse):
            data = await reader.read(_PIECE)
            if not data and head is None:
                raise h11.RemoteProtocolError("the connection was closed without a response")
            connection.receive_data(data)
