"""Load: many plain POSTs over kept connections, from one thread, with as little work for a byte as there can be.

All bodies come from one buffer in the processor's cache, and no side checks them: this measures and does not verify.
Refuses a response that is not a success, early or missing: failed requests would falsify the figures.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from dataclasses import dataclass

import httptools

BLOCK = 1 << 20
"""Bytes given to the kernel at a time."""
CONGESTION = b"reno"
"""Of the load's own sockets: bbr paces bytes even over loopback, and the sender's end decides."""
PATIENCE = 60.0
"""Seconds without any progress until a run has failed."""


@dataclass(frozen=True)
class Case:
    """`requests` in all, over `connections`; `size` of a body and `chunk` in bytes, None for Content-Length."""

    name: str
    size: int
    connections: int
    requests: int
    chunk: int | None = None


class LoadFailed(Exception):
    """The server under test refused, cut or stalled a request."""


def run(port: int, case: Case) -> tuple[float, list[float]]:
    """Send all of it; return the seconds it took and those of every request. Raises LoadFailed, OSError."""
    pieces = _pieces(case)
    with contextlib.ExitStack() as stack:
        poll = stack.enter_context(select.epoll())
        clients = {}
        for _ in range(case.connections):
            client = _Client(stack.enter_context(_connect(port)), poll, pieces)
            clients[client.fd] = client
        started = time.perf_counter()
        for client in clients.values():
            client.begin()
        waiting, open_requests = case.requests - len(clients), len(clients)
        while open_requests:
            events = poll.poll(PATIENCE)
            if not events:
                raise LoadFailed(f"{open_requests} requests open, and nothing moved for {PATIENCE:.0f} s")
            for fd, event in events:
                client = clients[fd]
                if event & select.EPOLLOUT:
                    client.send()
                if event & ~select.EPOLLOUT and client.answered():
                    if waiting:
                        waiting -= 1
                        client.begin()
                    else:
                        open_requests -= 1
        seconds = time.perf_counter() - started
    return seconds, [taken for client in clients.values() for taken in client.times]


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setblocking(False)
    return connection


class _Client:
    """One connection with one request at a time."""

    def __init__(self, connection: socket.socket, poll: select.epoll, pieces: list[memoryview]) -> None:
        self.fd = connection.fileno()
        self.times: list[float] = []
        self._socket = connection
        self._poll = poll
        self._pieces = pieces
        self._parser = httptools.HttpResponseParser(self)
        self._wants = select.EPOLLIN
        poll.register(self.fd, self._wants)

    def begin(self) -> None:
        self._began = time.perf_counter()
        self._next = 1
        self._view = self._pieces[0]
        self._complete = False
        self.send()

    def send(self) -> None:
        """Send at most one piece, so that every client gets its turn; wait for EPOLLOUT while there is more."""
        with contextlib.suppress(BlockingIOError):
            self._view = self._view[self._socket.send(self._view) :]
        if not self._view and self._next < len(self._pieces):
            self._view = self._pieces[self._next]
            self._next += 1
        wants = select.EPOLLIN | select.EPOLLOUT if self._view else select.EPOLLIN
        if wants != self._wants:
            self._wants = wants
            self._poll.modify(self.fd, wants)

    def answered(self) -> bool:
        """Takes in what has arrived; whether that ended the request."""
        data = self._socket.recv(65536)
        if not data:
            raise LoadFailed("a connection was closed before the answer")
        self._parser.feed_data(data)
        if not self._complete:
            return False
        self.times.append(time.perf_counter() - self._began)
        if self._view:
            raise LoadFailed("an answer came before the whole request was sent")
        return True

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 300:
            raise LoadFailed(f"a request was answered with {status}")
        self._complete = status >= 200


def _pieces(case: Case) -> list[memoryview]:
    """The bytes of one request, head and framing included; a small one in one piece."""
    length = f"Content-Length: {case.size}" if case.chunk is None else "Transfer-Encoding: chunked"
    head = f"POST /upload HTTP/1.1\r\nHost: bench\r\n{length}\r\n\r\n".encode()
    unit = case.chunk or min(case.size, BLOCK)
    whole, rest = divmod(case.size, unit)
    together = max(1, BLOCK // unit)
    block, frame = _framed(unit, case.chunk) * together, _framed(unit, case.chunk)
    last = frame * (whole % together)
    last += _framed(rest, case.chunk) if rest else b""
    last += b"" if case.chunk is None else b"0\r\n\r\n"
    if whole < together:
        return [memoryview(head + last)]
    pieces = [memoryview(head), *[memoryview(block)] * (whole // together)]
    return [*pieces, memoryview(last)] if last else pieces


def _framed(size: int, chunk: int | None) -> bytes:
    return bytes(size) if chunk is None else b"%x\r\n%b\r\n" % (size, bytes(size))
