"""Connections inward, and one request on one of them.

Connections are pooled, for a bounded time: what stands behind is replaced, and can be stopped when its connections are
gone. One that was idle may be dead without anybody's fault; `fresh` tells whether that can be the reason.
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
from changeover.relay.io.epoll import Channel, Epoll, Waker
from changeover.relay.io.pipes import Pipe, Pipes

AT_ONCE = 64
"""Pieces in memory that are given to the kernel at once."""
BUFFER = 1024 * 1024
"""Bytes of the kernel's buffers for a connection inward."""


class UpstreamFailed(Exception):
    """There is no answer; the text says why. `timeout`: because nothing came for too long."""

    def __init__(self, why: str, *, timeout: bool = False) -> None:
        super().__init__(why)
        self.timeout = timeout


class Upstream:
    """One address inward."""

    def __init__(self, host: str, port: int, epoll: Epoll, pooling: Pooling) -> None:
        self.host, self.port = host, port
        self._epoll = epoll
        self._pooling = pooling
        self._idle: deque[UpstreamConnection] = deque()
        self._nobody = Waker()

    async def connect(self, waker: Waker, *, fresh: bool = False) -> UpstreamConnection:
        """A connection, from the pool if one is there and `fresh` is not asked for. Raises Broken."""
        now = time.monotonic()
        while self._idle and not fresh:
            connection = self._idle.pop()
            if now < connection.kept_until and not connection.channel.ended and connection.is_silent():
                connection.channel.waker = waker
                return connection
            connection.close()
        return await self._open(waker)

    async def _open(self, waker: Waker) -> UpstreamConnection:
        sock = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        sock.setblocking(False)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            with contextlib.suppress(OSError):
                # bbr paces, which costs a third of what loopback and short ways carry; reno needs no privilege
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
        channel.may_read = False  # the kernel will say
        return UpstreamConnection(channel, time.monotonic() + self._pooling.life)

    def keep(self, connection: UpstreamConnection) -> None:
        """For the next request, unless it is too old."""
        now = time.monotonic()
        if now >= connection.dies_at or connection.channel.ended:
            connection.close()
            return
        connection.kept_until = min(now + self._pooling.idle, connection.dies_at)
        connection.channel.waker = self._nobody
        self._idle.append(connection)

    def sweep(self, now: float) -> None:
        """Close what was idle for too long, or was closed by its peer."""
        for connection in [*self._idle]:
            if now >= connection.kept_until or connection.channel.ended:
                self._idle.remove(connection)
                connection.close()

    def close(self) -> None:
        self.sweep(float("inf"))


class UpstreamConnection:
    """One connection inward."""

    def __init__(self, channel: Channel, dies_at: float) -> None:
        self.channel = channel
        self.dies_at = dies_at
        self.kept_until = 0.0
        self.inbox = b""
        """What came after the last head that was read."""

    def is_silent(self) -> bool:
        """Whether nothing has come that nobody asked for, such as the end."""
        try:
            self.channel.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            self.channel.may_read = False
            return not self.inbox
        except OSError:
            pass
        return False

    def recv(self, size: int) -> bytes | None:
        """As of a Channel. Raises Broken."""
        try:
            return self.channel.recv(size)
        except OSError as error:
            raise UpstreamFailed(error.strerror or "the connection broke") from None

    def close(self, *, reset: bool = False) -> None:
        self.channel.close(reset=reset)


class UpstreamRequest:
    """One request going out, and the head of its answer coming in; `step` does what can be done without waiting."""

    def __init__(
        self, connection: UpstreamConnection, method: bytes, head: bytes, blocks: Iterable[Block], pipes: Pipes
    ) -> None:
        self.connection = connection
        self.sent = 0
        """Bytes of the body that went out."""
        self.response: ResponseHead | None = None
        self.more = False
        """More of the body is to be added."""
        self._method = method
        self._head = head
        self._blocks = deque(blocks)
        self._piece = self._place = 0
        """Of the first block, in memory: which piece is next, and where in it."""
        self._pipes = pipes
        self._copy: Pipe | None = None
        """Of the first block, a pipe: what is left of it to be sent."""

    @property
    def all_sent(self) -> bool:
        return not self._head and not self._blocks

    @property
    def is_sent_whole(self) -> bool:
        """Whether the request went out to its end: before that, the next one would be taken for its body."""
        return self.all_sent and not self.more

    def add(self, block: Block) -> None:
        """More of the body."""
        self._blocks.append(block)

    def step(self) -> bool:
        """Whether anything moved. Raises Broken, and BadHead."""
        try:
            moved = self._send()
        except OSError as error:
            if self._read_response():  # it was refused before it was whole
                return True
            raise UpstreamFailed(error.strerror or "the connection broke") from None
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
        """What is sent from a pipe is gone from it, so it is sent from a copy."""
        copy = self._pipes.get()
        assert block.pipe is not None
        if copy is not None and block.pipe.copy_to(copy) == block.pipe.size:
            self._copy = copy
            return
        if copy is not None:
            self._pipes.put(copy)
        block.to_memory(self._pipes)

    def _send_memory(self, block: Block | None, flags: int = 0) -> bool:
        """The head, and of a block in memory what is left of it."""
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
        if self._head:
            of_head = min(count, len(self._head))
            self._head = self._head[of_head:]
            count -= of_head
        if block is not None:
            self._went(block, count)
        return True

    def _went(self, block: Block, count: int) -> None:
        """Bytes of a block in memory."""
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
        connection = self.connection
        data = connection.recv(heads.MAX_HEAD)
        if data is None:
            return False
        if not data:
            raise UpstreamFailed("the connection was closed")
        connection.inbox += data
        while (end := connection.inbox.find(b"\r\n\r\n")) >= 0:
            response = heads.read_response(connection.inbox[: end + 4], self._method)
            connection.inbox = connection.inbox[end + 4 :]
            if response.status >= 200:  # what is said meanwhile (RFC 9110, section 15.2) is for nobody
                self.response = response
                break
        if len(connection.inbox) > heads.MAX_HEAD and self.response is None:
            raise UpstreamFailed("the head of the answer is too long")
        return True

    def close(self) -> None:
        """Give back what it holds; the connection stays."""
        if self._copy is not None:
            self._pipes.put(self._copy)
            self._copy = None
