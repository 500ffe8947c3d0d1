"""An HTTP/1.1 client: one request at a time on one connection, and no retries.

The client checks an idle keep-alive connection before it writes a request. If the server has closed it, the client
opens a new one; nothing was sent, so nothing is lost. After the first byte is written, a failure becomes the
response's `reason`: one of a fixed set of phrases that can be counted.

Refuses to judge bodies: the caller's checks do that.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import h11

from changeover.model.errors import fail
from changeover.model.probe import Tls
from changeover.probe.http.exchange import HttpExchange, HttpRequest, HttpResponse
from changeover.probe.http.stream import ConnectionFailed, Endpoint, Stream


@dataclass(frozen=True)
class TimeLimits:
    """Seconds for a request with its connect, and seconds without progress (None: unlimited)."""

    total: float
    idle: float | None = None


@dataclass(frozen=True)
class ProbeTarget:
    """The URL, resolved once: a lookup for each connection would measure the resolver."""

    endpoint: Endpoint
    authority: str
    prefix: str

    @classmethod
    async def resolve(cls, url: str, settings: Tls) -> ProbeTarget:
        """Raises ChangeoverError when the name has no address or a file of the TLS settings cannot be read."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        secure = parts.scheme == "https"
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                host, parts.port or (443 if secure else 80), type=socket.SOCK_STREAM
            )
        except OSError as error:
            raise fail(f"the host {host} has no address: {error.strerror}", where=url) from error
        family, _, _, _, address = found[0]
        tls = _context(settings) if secure else None
        return cls(Endpoint(family, address, settings.server_name or host, tls), parts.netloc, parts.path.rstrip("/"))


def _context(settings: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca or None)
    except OSError as error:
        raise fail(f"the CA file cannot be read: {error.strerror or error}", where=settings.ca) from error
    if settings.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.certificate:
        try:
            context.load_cert_chain(settings.certificate, settings.key or None, password=_no_password)
        except OSError as error:
            raise fail(
                f"the client's certificate and its key cannot be used: {error.strerror or error}",
                where=settings.certificate,
            ) from error
    context.set_alpn_protocols(["http/1.1"])
    return context


def _no_password() -> str:
    """For an encrypted key: OpenSSL would ask on the terminal."""
    return ""


class Connection:
    """A keep-alive connection, opened on demand. Use it as a context manager."""

    def __init__(self, target: ProbeTarget) -> None:
        self._target = target
        self._open: _OpenConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        if self._open:
            self._open.stream.close()
            self._open = None

    async def send(self, request: HttpRequest, limits: TimeLimits) -> HttpResponse:
        """Send one request and read its response. A failure is in the response, and closes the connection."""
        if self._open and not self._open.reusable():
            self.close()
        reused = self._open is not None
        exchange = HttpExchange(request)
        try:
            async with asyncio.timeout(limits.total) as timer:
                idle_timer = _IdleTimer(timer, limits.idle)
                if self._open is None:
                    self._open = _OpenConnection(await Stream.connect(self._target.endpoint))
                reason = await exchange.run(
                    self._open.stream, self._open.http, self._target.authority, idle_timer.restart
                )
        except TimeoutError:
            reason = "timeout" if self._open else "connect timeout"
        except ConnectionFailed as error:
            reason = str(error)
        response = exchange.response(reason, reused=reused if self._open else None)
        if reason or exchange.abandoned:
            self.close()
        return response


class _OpenConnection:
    """An open connection and the HTTP state of both sides."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.http = h11.Connection(h11.CLIENT)

    def reusable(self) -> bool:
        """Whether another request may be sent: both sides keep the connection, and nothing has arrived."""
        if self.http.our_state is not h11.DONE or self.http.their_state is not h11.DONE:
            return False
        if self.http.trailing_data[0] or not self.stream.is_quiet():
            return False
        self.http.start_next_cycle()
        return True


class _IdleTimer:
    """Expires after a time without progress; each transferred byte restarts it. The total limit still applies."""

    def __init__(self, timer: asyncio.Timeout, idle: float | None) -> None:
        self._timer = timer
        self._idle = idle
        self._now = asyncio.get_running_loop().time
        self._end = timer.when()
        self.restart()

    def restart(self) -> None:
        if self._idle is not None and self._end is not None and not self._timer.expired():
            self._timer.reschedule(min(self._now() + self._idle, self._end))
