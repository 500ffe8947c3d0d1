"""The client of a demonstration: HTTP/1.1 without retries, one row for each request that it sent."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from dataclasses import dataclass, field
from enum import StrEnum

_STEP = 0.02
"""Seconds between two pieces of a slow body."""
PATIENCE = 40.0
"""Seconds after which a request without a response is lost."""


class Outcome(StrEnum):
    OK = "ok"
    LOST = "lost"
    REFUSED = "refused"  # no connection: a router in front tries another instance


@dataclass(frozen=True)
class Sent:
    """One request. `reason` says what the client saw."""

    method: str
    outcome: Outcome
    reason: str
    seconds: float


@dataclass
class Connection:
    """A connection that its client keeps."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def closed(self) -> bool:
        """Whether the client has seen its end."""
        return self.reader.at_eof() or self.reader.exception() is not None

    def close(self) -> None:
        self.writer.close()


@dataclass
class Client:
    host: str
    port: int
    sent: list[Sent] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def connect(self) -> Connection:
        return Connection(*await asyncio.open_connection(self.host, self.port))

    async def request(
        self,
        method: str,
        *,
        body: int = 0,
        rate: float = 0.0,
        wait: float = 0.0,
        pause: float = 0.0,
        begun: asyncio.Event | None = None,
        on: Connection | None = None,
        patience: float = PATIENCE,
        below: str = "",
    ) -> Sent:
        """Send a request, on a connection of its own unless one is given, and record its outcome.

        The application answers `wait` seconds after the request; a GET's response has begun before. The body is sent at
        `rate` bytes per second (0: at once), with one `pause` in its middle. `below` is a path of a
        location. `begun` is set once a server has asked
        for the body, or has begun to answer: then the request is in flight for certain.
        """
        start = time.monotonic()
        outcome, reason = Outcome.LOST, ""
        begun = begun or asyncio.Event()
        connection = on
        try:
            connection = on or await self.connect()
        except OSError as error:
            outcome, reason = Outcome.REFUSED, error.strerror or str(error)
        else:
            try:
                async with asyncio.timeout(patience):
                    reason = await self._exchange(connection, method, below, body, rate, wait, pause, begun)
                outcome = Outcome.LOST if reason else Outcome.OK
            except TimeoutError:
                reason = f"no response within {patience:g} s"
            except (OSError, asyncio.IncompleteReadError):
                reason = "the connection was closed"
            finally:
                if on is None:
                    connection.close()
        begun.set()
        self.sent.append(Sent(method, outcome, reason or "200", time.monotonic() - start))
        return self.sent[-1]

    async def reuse(self, method: str, gap: float, *, body: int = 0) -> None:
        """Two requests on one connection, the second after `gap` seconds; none if the client has seen it close."""
        connection = await self.connect()
        try:
            await self.request("GET", on=connection)
            await asyncio.sleep(gap)
            if not connection.closed:
                await self.request(method, body=body, on=connection)
        finally:
            connection.close()

    async def _exchange(
        self,
        on: Connection,
        method: str,
        below: str,
        body: int,
        rate: float,
        wait: float,
        pause: float,
        begun: asyncio.Event,
    ) -> str:
        """Returns what is wrong with the response; empty if nothing is."""
        name = f"{next(self._numbers)}"
        expects = "Expect: 100-continue\r\n" if rate else ""
        length = f"Content-Length: {body}\r\n{expects}" if method == "POST" else ""
        on.writer.write(f"{method} {below}/{name}/{wait:g} HTTP/1.1\r\nHost: lab\r\n{length}\r\n".encode())
        if method == "POST" and rate:
            status, _ = await _head(on.reader)
            if status != 100:
                return f"answered with {status}"
        if method == "POST":
            begun.set()
        sending = asyncio.ensure_future(_send(on.writer, body, rate, pause))
        try:
            status = 100
            while status == 100:
                status, size = await _head(on.reader)
            begun.set()
            if status != 200:
                return f"answered with {status}"
            found = (await on.reader.readexactly(size)).decode()
            return "" if found == f"{name} {body}" else "another response than its own"
        finally:
            sending.cancel()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await sending


async def _head(reader: asyncio.StreamReader) -> tuple[int, int]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    return int(lines[0].split()[1]), int(fields.get("content-length", "0"))


async def _send(writer: asyncio.StreamWriter, body: int, rate: float, pause: float) -> None:
    step = max(1, int(rate * _STEP)) if rate else 65536
    left, start = body, time.monotonic()
    while left:
        piece = min(step, left)
        writer.write(bytes(piece))
        await writer.drain()
        left -= piece
        if pause and left <= body // 2:
            await asyncio.sleep(pause)
            start, pause = start + pause, 0.0
        if rate:
            await asyncio.sleep(max(0.0, start + (body - left) / rate - time.monotonic()))
