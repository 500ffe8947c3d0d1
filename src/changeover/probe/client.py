"""HTTP/1.1 as an honest client speaks it: one request at a time on one connection, and never a retry.

A keep-alive connection that the server closed while it was idle is noticed before the next request is written
and is replaced; nothing was sent, so nothing is lost. From the first byte written on, whatever goes wrong is
the answer's `reason`, one of a fixed set of phrases that can be counted.

Refuses to judge bodies: the caller's checks do that.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import h11

from changeover.model.errors import fail
from changeover.probe.http_exchange import HttpExchange, HttpRequest, HttpResponse
from changeover.probe.stream import ConnectionFailed, Endpoint, Stream


@dataclass(frozen=True)
class TimeLimits:
    """Seconds a request may take, connecting included, and how long nothing may move (None: no matter)."""

    total: float
    silence: float | None = None


@dataclass(frozen=True)
class ProbeTarget:
    """The URL, resolved once: a lookup for every connection would measure the resolver."""

    endpoint: Endpoint
    authority: str
    prefix: str

    @classmethod
    async def resolve(cls, url: str, ca_file: Path | None) -> ProbeTarget:
        """Raises ChangeoverError when the name has no address or the CA cannot be read."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        secure = parts.scheme == "https"
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                host, parts.port or (443 if secure else 80), type=socket.SOCK_STREAM
            )
        except OSError as error:
            raise fail(f"no address for {host}: {error.strerror}", where=url) from error
        family, _, _, _, address = found[0]
        tls = _trust(ca_file) if secure else None
        return cls(Endpoint(family, address, host, tls), parts.netloc, parts.path.rstrip("/"))


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise fail(f"the CA cannot be read: {error.strerror or error}", where=str(ca_file)) from error
    context.set_alpn_protocols(["http/1.1"])
    return context


class Connection:
    """One place for a connection: empty, or open and kept alive. Use it as a context manager."""

    def __init__(self, target: ProbeTarget) -> None:
        self._target = target
        self._line: _OpenConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; the next request opens a new connection."""
        if self._line:
            self._line.stream.close()
            self._line = None

    async def ask(self, request: HttpRequest, limit: TimeLimits) -> HttpResponse:
        """Send one request, read its answer. What went wrong is in the answer; then the line is closed."""
        if self._line and not self._line.reusable():
            self.close()
        reused = self._line is not None
        exchange = HttpExchange(request)
        try:
            async with asyncio.timeout(limit.total) as timer:
                alarm = _IdleTimer(timer, limit.silence)
                if self._line is None:
                    self._line = _OpenConnection(await Stream.connect(self._target.endpoint))
                reason = await exchange.run(self._line.stream, self._line.http, self._target.authority, alarm.put_off)
        except TimeoutError:
            reason = "timeout" if self._line else "connect timeout"
        except ConnectionFailed as broken:
            reason = str(broken)
        answer = exchange.answer(reason, reused=reused if self._line else None)
        if reason or exchange.left:
            self.close()
        return answer


class _OpenConnection:
    """An open connection and where its two sides stand in HTTP."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.http = h11.Connection(h11.CLIENT)

    def reusable(self) -> bool:
        """Whether one more request may be sent: both sides agreed to go on, and the server is quiet since."""
        if self.http.our_state is not h11.DONE or self.http.their_state is not h11.DONE:
            return False
        if self.http.trailing_data[0] or not self.stream.quiet():
            return False
        self.http.start_next_cycle()
        return True


class _IdleTimer:
    """Rings after a silence, put off by every byte that moves, but never past the end that was set first."""

    def __init__(self, timer: asyncio.Timeout, silence: float | None) -> None:
        self._timer = timer
        self._silence = silence
        self._now = asyncio.get_running_loop().time
        self._end = timer.when()
        self.put_off()

    def put_off(self) -> None:
        if self._silence is not None and self._end is not None and not self._timer.expired():
            self._timer.reschedule(min(self._now() + self._silence, self._end))
