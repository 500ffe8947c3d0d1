"""Connections to the upstream, and one request on one of them.

Connections are pooled for a bounded time: an instance behind the relay can be stopped once its connections are gone. An
idle connection may have been closed meanwhile, so a retry asks for a fresh one.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import deque
from collections.abc import Iterable

from changeover.http1 import head as heads
from changeover.http1.head import ResponseHead
from changeover.relay.config import Pooling
from changeover.relay.io.body_buffer import Block, Piece
from changeover.relay.io.epoll import Channel, Epoll, Wakeable, Waker
from changeover.relay.io.pipes import Pipe, Pipes

AT_ONCE = 64
"""Pieces in memory that one sendmsg(2) takes."""
INTERIM, INTERIM_RATE = 100, 10
"""Interim responses to one request: that many, and so many more each second. Servers of resumable uploads report their
progress by them, a few each second."""
BUFFER = 1024 * 1024
"""Bytes of the kernel's send buffer of a connection."""


class UpstreamFailed(Exception):
    """The upstream gave no response; the text names the reason. `timeout`: it was silent for too long."""

    def __init__(self, why: str, *, timeout: bool = False) -> None:
        super().__init__(why)
        self.timeout = timeout


class Upstream:
    """The one address that requests go to, and the pool of its connections."""

    def __init__(self, host: str, port: int, epoll: Epoll, pooling: Pooling) -> None:
        self.host, self.port = host, port
        self._epoll = epoll
        self._pooling = pooling
        self._idle: deque[UpstreamConnection] = deque()
        self._idle_waker = Waker()

    async def connect(self, waker: Waker, *, fresh: bool = False) -> UpstreamConnection:
        """A connection; unless `fresh`, from the pool if it has one. Raises UpstreamFailed."""
        connection = None if fresh else self.pooled(waker)
        return connection or await self._open(waker)

    def pooled(self, waker: Wakeable) -> UpstreamConnection | None:
        """A connection from the pool."""
        now = time.monotonic()
        while self._idle:
            connection = self._idle.pop()
            if now < connection.idle_until and not connection.channel.ended and connection.is_silent():
                connection.channel.waker = waker
                return connection
            connection.close()
        return None

    async def _open(self, waker: Waker) -> UpstreamConnection:
        sock = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        sock.setblocking(False)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            with contextlib.suppress(OSError):
                # bbr paces, which costs a third of the rate on short ways; reno needs no privilege
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
            async with asyncio.timeout(self._pooling.connect):
                await asyncio.get_running_loop().sock_connect(sock, (self.host, self.port))
        except BaseException as error:
            sock.close()
            if isinstance(error, OSError):
                timeout = isinstance(error, TimeoutError)
                raise UpstreamFailed(
                    f"{self.host}:{self.port}: {error.strerror or 'no connection'}", timeout=timeout
                ) from None
            raise
        channel = self._epoll.channel(sock, waker)
        channel.may_read = False  # epoll reports it
        return UpstreamConnection(channel, time.monotonic() + self._pooling.life)

    def release(self, connection: UpstreamConnection) -> None:
        """Return a connection to the pool, unless it is too old."""
        now = time.monotonic()
        if now >= connection.expires_at or connection.channel.ended:
            connection.close()
            return
        connection.idle_until = min(now + self._pooling.idle, connection.expires_at)
        connection.channel.waker = self._idle_waker
        self._idle.append(connection)

    def sweep(self, now: float) -> None:
        """Close the connections that idled for too long, or that the upstream has closed."""
        for connection in [*self._idle]:
            if now >= connection.idle_until or connection.channel.ended:
                self._idle.remove(connection)
                connection.close()

    def close(self) -> None:
        self.sweep(float("inf"))


class UpstreamConnection:
    """One connection to the upstream."""

    def __init__(self, channel: Channel, expires_at: float) -> None:
        self.channel = channel
        self.expires_at = expires_at
        self.idle_until = 0.0
        self.inbox = b""
        """Bytes after the last head."""

    def is_silent(self) -> bool:
        """Whether the upstream has sent nothing without a request, such as the end."""
        try:
            self.channel.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            self.channel.may_read = False
            return not self.inbox
        except OSError:
            pass
        return False

    def recv(self, size: int) -> bytes | None:
        """As Channel.recv. Raises UpstreamFailed."""
        try:
            return self.channel.recv(size)
        except OSError as error:
            raise UpstreamFailed(error.strerror or "the connection to the upstream broke") from None

    def close(self, *, reset: bool = False) -> None:
        self.channel.close(reset=reset)


class UpstreamRequest:
    """One request, and the head of its response; `step` does what needs no wait."""

    def __init__(
        self, connection: UpstreamConnection, method: bytes, head: bytes, blocks: Iterable[Block], pipes: Pipes
    ) -> None:
        self.connection = connection
        self.sent = 0
        """Bytes of the body that were sent."""
        self.sends = 0
        """Times that a part of it was sent, head and body."""
        self.response: ResponseHead | None = None
        self.more = False
        """More of the body is to be added."""
        self._method = method
        self._interim = 0
        self._began = time.monotonic()
        self._head = head
        self._blocks = deque(blocks)
        self._piece = self._place = 0
        """The next piece of the first block in memory, and the place in it."""
        self._pipes = pipes
        self._copy: Pipe | None = None
        """Of the first block, in a pipe: its bytes that are not sent yet."""

    @property
    def all_sent(self) -> bool:
        return not self._head and not self._blocks

    @property
    def is_sent_whole(self) -> bool:
        """Whether the request was sent to its end: before that, the next one would pass for its body."""
        return self.all_sent and not self.more

    def add(self, block: Block) -> None:
        """More of the body."""
        self._blocks.append(block)

    def step(self) -> bool:
        """Whether anything moved. Raises UpstreamFailed, BadHead."""
        try:
            moved = self._send()
        except OSError as error:
            if self._read_response():  # the upstream has refused it before it was whole
                return True
            raise UpstreamFailed(error.strerror or "the connection to the upstream broke") from None
        self.sends += moved
        return self._read_response() or moved

    def _send(self) -> bool:
        channel = self.connection.channel
        if not channel.may_write or self.all_sent:
            return False
        block = self._blocks[0] if self._blocks else None
        if block is not None and block.pipe is not None and self._copy is None:
            self._prepare(block)
        if self._copy is None:
            return self._send_memory(block)
        return self._send_pipe(self._copy) if not self._head else self._send_memory(None, socket.MSG_MORE)

    def _prepare(self, block: Block) -> None:
        """Copy the pipe, for sending empties it."""
        copy = self._pipes.get()
        assert block.pipe is not None
        if copy is not None and block.pipe.copy_to(copy) == block.pipe.size:
            self._copy = copy
            return
        if copy is not None:
            self._pipes.put(copy)
        block.to_memory(self._pipes)

    def _send_memory(self, block: Block | None, flags: int = 0) -> bool:
        """Send the head, and the rest of a block in memory."""
        pieces: list[Piece] = [] if block is None else block.pieces[self._piece : self._piece + AT_ONCE]
        if self._place:
            pieces[0] = memoryview(pieces[0])[self._place :]
        if self._head:
            pieces.insert(0, self._head)
        try:
            count = self.connection.channel.sock.sendmsg(pieces, (), flags)
        except BlockingIOError:
            self.connection.channel.may_write = False
            return False
        self.count(count)
        return True

    def count(self, count: int) -> None:
        """So many bytes of the head and of the first block, which is in memory, were sent."""
        if self._head:
            of_head = min(count, len(self._head))
            self._head = self._head[of_head:]
            count -= of_head
        if self._blocks and self._blocks[0].pipe is None:
            self._went(self._blocks[0], count)

    def _went(self, block: Block, count: int) -> None:
        """So many bytes of a block in memory were sent."""
        self.sent += count
        count += self._place
        pieces = block.pieces
        while self._piece < len(pieces) and count >= len(pieces[self._piece]):
            count -= len(pieces[self._piece])
            self._piece += 1
        self._place = count
        if self._piece == len(pieces):
            self._blocks.popleft()
            self._piece = self._place = 0

    def _send_pipe(self, copy: Pipe) -> bool:
        try:
            self.sent += copy.pour(self.connection.channel.fd)
        except BlockingIOError:
            self.connection.channel.may_write = False
            return False
        if not copy.size:
            self._pipes.put(copy)
            self._copy = None
            self._blocks.popleft()
        return True

    def _read_response(self) -> bool:
        data = self.connection.recv(heads.MAX_HEAD)
        if data is None:
            return False
        self.received(data)
        return True

    def received(self, data: bytes) -> None:
        """Bytes of the response; b"" at the end of the connection. Raises UpstreamFailed, BadHead."""
        connection = self.connection
        if not data:
            raise UpstreamFailed("the upstream closed the connection")
        connection.inbox += data
        while (end := connection.inbox.find(b"\r\n\r\n")) >= 0:
            response = heads.read_response(connection.inbox[: end + 4], self._method)
            connection.inbox = connection.inbox[end + 4 :]
            if response.status >= 200:
                self.response = response
                break
            self._count_interim()
        if len(connection.inbox) > heads.MAX_HEAD and self.response is None:
            raise UpstreamFailed("the head of the response is too long")

    def _count_interim(self) -> None:
        """Interim responses (RFC 9110, section 15.2) are not passed on. Raises UpstreamFailed if too many come."""
        self._interim += 1
        if self._interim > INTERIM + INTERIM_RATE * (time.monotonic() - self._began):
            raise UpstreamFailed(f"the upstream sent {self._interim} interim responses in a row")

    def close(self) -> None:
        """Return the pipes; the connection stays open."""
        if self._copy is not None:
            self._pipes.put(self._copy)
            self._copy = None
