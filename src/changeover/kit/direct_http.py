"""A client for control ports in processes that must stay small: httpx takes 10 MB, this takes h11 and asyncio.

One connection for each request, as in `kit.http`. Refuses bodies over `LARGEST`, and follows no redirect.
"""

from __future__ import annotations

import asyncio
import json as json_text
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import h11

LARGEST = 16 * 1024 * 1024
"""Bytes of a response: more than `/clusters` of an Envoy with thousands of members."""
_PIECE = 64 * 1024

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


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
    """`timeout`: seconds for a whole request."""

    timeout: float = 2.0

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        timeout: float | None = None,
    ) -> DirectResponse:
        """The response of `http://HOST:PORT/PATH`, with any status. Raises NoResponse."""
        parts = urlsplit(url)
        target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"

        def connect() -> Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
            return asyncio.open_connection(parts.hostname, parts.port or 80)

        content = b"" if json is None else json_text.dumps(json).encode()
        fields = {"Host": parts.netloc, **(headers or {})}
        if content:
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
        return await self._ask(connect, method, target, url, fields, content, timeout)

    async def request_socket(self, path: str, name: str, method: str, target: str) -> DirectResponse:
        """The same at the Unix socket `path`, which messages call `name`. Raises NoResponse."""

        def connect() -> Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
            return asyncio.open_unix_connection(path)

        return await self._ask(connect, method, target, f"{target} at {name}", {"Host": "localhost"}, b"", None)

    async def _ask(
        self,
        connect: Connect,
        method: str,
        target: str,
        asked: str,
        fields: Mapping[str, str],
        content: bytes,
        timeout: float | None,
    ) -> DirectResponse:
        try:
            async with asyncio.timeout(self.timeout if timeout is None else timeout):
                reader, writer = await connect()
                try:
                    return await _exchange(reader, writer, method, target, fields, content)
                finally:
                    writer.close()
        except TimeoutError as error:
            raise NoResponse(f"{method} {asked}: no response in time") from error
        except OSError as error:
            raise NoResponse(f"{method} {asked}: {error.strerror or error}") from error
        except h11.ProtocolError as error:
            raise NoResponse(f"{method} {asked}: {error}") from error


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
