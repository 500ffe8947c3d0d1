"""The server of `changeover serve`: uvicorn, with the bounds that it does not have by itself.

A client that is slow to send its head, or to read its response, loses its connection. A head has at most HEAD_LIMIT
bytes, and there are at most CONNECTIONS connections: one more gets 503. A flood of refused requests fills no log.
Refuses WebSockets. SIGTERM and SIGINT end it with exit code 0.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from changeover.model.errors import fail
from changeover.web import access
from changeover.web.app import create_app
from changeover.web.site import Site

HEAD_LIMIT = 16 * 1024
"""Bytes of a request's head."""
HEAD_TIME = 10.0
"""Seconds from the first byte of a head, or from the connection, to the head's end."""
PIPELINE = 32
"""Requests of a connection that may wait for the response of an earlier one. Browsers and scrapers send none ahead."""
READ_TIME = 30.0
"""Seconds that a client may leave a full buffer unread."""
KEEP_ALIVE = 75
"""Seconds a connection may idle: longer than the pools of proxies (60 s is common), so that they close first."""
CONNECTIONS = 512
"""Connections at a time. A page holds one for its events, and a scraper one."""
GRACE = 3
"""Seconds for the responses in progress at the end: event streams never end by themselves."""


UNREADABLE = "Invalid HTTP request received."
"""Uvicorn's line about a request that is no HTTP, in place of which one names the client."""
LINES = 20
"""Refused requests a second that have a line of their own. The others are counted in one."""

_LOG = logging.getLogger(__name__)


async def serve(site: Site, host: str, port: int, ready: Callable[[str, int], None]) -> None:
    """Serve until SIGTERM or SIGINT. `ready` gets the address once it listens. Raises ChangeoverError."""
    settings = uvicorn.Config(
        create_app(site),
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
    )
    few = FewLines()
    loggers = [logging.getLogger(name) for name in ("uvicorn.error", access.__name__, __name__)]
    for logger in loggers:
        logger.addFilter(few)
    try:
        await _Server(settings, ready).serve(sockets=[_listener(host, port)])
    finally:
        for logger in loggers:
            logger.removeFilter(few)
        few.report()


class FewLines(logging.Filter):
    """Passes LINES warnings a second, and reports the number of the others at the end of that second."""

    def __init__(self) -> None:
        super().__init__()
        self._written = self._more = 0
        self._second: asyncio.TimerHandle | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written. An error always is."""
        if record.msg == UNREADABLE:
            return False
        if record.levelno != logging.WARNING:
            return True
        if self._second is None:
            self._second = asyncio.get_running_loop().call_later(1.0, self.report)
        self._written += 1
        if self._written <= LINES:
            return True
        self._more += 1
        return False

    def report(self) -> None:
        """Write how many lines were left out, and begin another second."""
        more, self._written, self._more, self._second = self._more, 0, 0, None
        if more:
            _LOG.warning("%d more lines about refused requests were left out", more)


class _Server(uvicorn.Server):
    """Uvicorn that announces its address, and at a signal ends with exit code 0."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[str, int], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for each in sockets or ():
            self._ready(*each.getsockname()[:2])

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn's own version raises the signal again at the end, which would kill the process."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.handle_exit, number, None)
        yield


class BoundedProtocol(HttpToolsProtocol):
    """A connection that ends when its client is slow: uvicorn bounds idle time alone, and no head's size.

    Of uvicorn's two readers of HTTP/1.1 this one takes half the CPU, and a scrape is little else.
    """

    _head: asyncio.TimerHandle | None = None
    _size = 0  # bytes since the head began; more where its client sent the end of a request before it at once
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head = self.loop.call_later(HEAD_TIME, transport.abort)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        idles = self.cycle is not None and self.cycle.response_complete and self.timeout_keep_alive_task is None
        if self._head is None and idles:  # it sent an empty line: uvicorn takes that for a request that begins
            self._head = self.loop.call_later(HEAD_TIME, self.transport.abort)
        self._size = 0 if self._head is None else self._size + len(data)
        if self._size > HEAD_LIMIT:
            self._refuse_head()

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= PIPELINE:
            self.transport.abort()
            raise ValueError  # stops the parser: one read can hold 14,000 requests, and each waiting one takes 3 kB
        super().on_message_begin()
        if self._head is None:
            self._head = self.loop.call_later(HEAD_TIME, self.transport.abort)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head is not None:  # uvicorn takes a field after a chunked body for one of the head
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_LIMIT:
            raise ValueError  # one that arrived at once: the parser answers with 400
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        client = self.client[0] if self.client else "?"
        reason = "it is no HTTP/1.1, or too much of it" if msg == UNREADABLE else msg
        _LOG.warning("refused a request from %s: 400, %s", client, reason)
        super().send_400_response(msg)

    def _unsupported_upgrade_warning(self) -> None:
        """No line: uvicorn would name a package to install. The request is answered as if it asked for no upgrade."""

    def _refuse_head(self) -> None:
        if not self.transport.is_closing():
            self.send_400_response(f"A head has at most {HEAD_LIMIT} bytes.")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(READ_TIME, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self.transport.abort()  # a close would wait for as long as the client leaves the last response unread

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._head, self._unread):
            if timer is not None:
                timer.cancel()


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        found = socket.create_server((host, port), family=family)
    except OSError as error:
        raise fail(
            f"cannot listen on {host}:{port}: {error.strerror}",
            state="Nothing was started.",
            next="Free that address, or give another one with --listen.",
        ) from error
    # Every connection inherits it. asyncio sets it only on sockets of a named protocol, and this one has none: a body
    # after its head would wait for the client's delayed acknowledgement, 40 ms.
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found
