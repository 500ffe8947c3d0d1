"""Readiness of sockets: each is registered once with an edge-triggered epoll inside asyncio's loop.

asyncio's own way costs two system calls and a callback for every wait; a relay waits once for a few hundred kilobytes.
So there is one descriptor in asyncio's loop, an epoll with all sockets in it, and each socket remembers whether it can
be read from or written to until the kernel says EAGAIN (measured inside asyncio: no dearer than a loop of its own).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import select
import socket
import termios
from collections.abc import Callable
from typing import Protocol

STEPS = 16
"""Steps without a wait after which other tasks get their turn."""

_NOTHING = bytes(4)
_WANTED = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_READABLE = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_WRITABLE = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
_GONE = select.EPOLLHUP | select.EPOLLERR
_ENDED = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


class Wakeable(Protocol):
    """Its `wake` is called when a socket becomes ready."""

    def wake(self) -> None: ...


class Waker:
    """One task that waits until any of its sockets is ready, or another task wakes it."""

    __slots__ = ("_action", "_future", "_loop", "_woken")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] | None = None
        self._action: Callable[[], bool] | None = None
        self._woken = False

    def wake(self) -> None:
        """A socket is ready: do what the task waits with, and wake it if it has to go on."""
        if self._action is None or self._future is None or self._future.done():
            self.wake_task()
            return
        try:
            if self._action():
                self.wake_task()
        except Exception as error:  # the task raises it: here it would stop the other connections
            self._future.set_exception(error)

    def wake_task(self) -> None:
        self._woken = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def clear(self) -> None:
        """Call it before trying the sockets: a wake-up from here on ends the next wait."""
        self._woken = False

    async def wait(self, action: Callable[[], bool] | None = None) -> None:
        """Until `wake` is called, or was since `clear`. Raises what `action` raises.

        `action` is called in place of waking the task, which costs more than most that there is to do (measured). It
        returns True if the task has to go on, and does all that needs no wait before it returns False.
        """
        if self._woken:
            await asyncio.sleep(0)
            return
        self._future = self._loop.create_future()
        self._action = action
        await self._future


class Channel:
    """A connected socket. `waker` is woken when it becomes ready."""

    __slots__ = ("_epoll", "ended", "fd", "gone", "may_read", "may_write", "sock", "waker")

    def __init__(self, sock: socket.socket, waker: Wakeable, epoll: Epoll) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.waker = waker
        self.may_read = True
        self.may_write = True
        self.ended = False
        """The peer has closed its side or is gone; bytes that it sent before may still be here."""
        self.gone = False
        """The peer has reset the connection."""
        self._epoll = epoll

    def recv(self, size: int) -> bytes | None:
        """The bytes that are here; b"" at the end; None if none is. Raises OSError."""
        if not self.may_read:
            return None
        try:
            data = self.sock.recv(size)
        except BlockingIOError:
            self.may_read = False
            return None
        if 0 < len(data) < size and not self.ended:
            self.may_read = False  # epoll(7): less than was asked for means that all was read
        return data

    def recv_into(self, room: memoryview) -> int | None:
        """How many bytes were read; 0 at the end; None if none is here. Raises OSError."""
        if not self.may_read:
            return None
        try:
            count = self.sock.recv_into(room)
        except BlockingIOError:
            self.may_read = False
            return None
        if 0 < count < len(room) and not self.ended:
            self.may_read = False
        return count

    def look(self) -> None:
        """Find out whether more is here after a splice: a splice that finds nothing takes longer."""
        if not self.ended and not self.has_unread():
            self.may_read = False

    def has_unread(self) -> bool:
        """Whether received bytes were not read: closing the socket would reset the connection."""
        return fcntl.ioctl(self.fd, termios.FIONREAD, _NOTHING) != _NOTHING

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """How many bytes were sent. Raises OSError."""
        if not self.may_write:
            return 0
        try:
            return self.sock.send(data)
        except BlockingIOError:
            self.may_write = False
            return 0

    def shut(self) -> None:
        """Close the sending side. Raises OSError."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self, *, reset: bool = False) -> None:
        """`reset`: no byte that is still queued may reach the peer."""
        if self.fd < 0:
            return
        self._epoll.forget(self)
        if reset:
            with contextlib.suppress(OSError):
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()
        self.fd = -1


class Epoll:
    """The epoll of one relay, and its channels."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._poll = select.epoll()
        self._channels: dict[int, Channel] = {}
        self._loop.add_reader(self._poll.fileno(), self._look)

    def channel(self, sock: socket.socket, waker: Wakeable) -> Channel:
        sock.setblocking(False)
        channel = Channel(sock, waker, self)
        self._channels[channel.fd] = channel
        self._poll.register(channel.fd, _WANTED)
        return channel

    def forget(self, channel: Channel) -> None:
        del self._channels[channel.fd]
        self._poll.unregister(channel.fd)

    def close(self) -> None:
        self._loop.remove_reader(self._poll.fileno())
        self._poll.close()

    def _look(self) -> None:
        for fd, events in self._poll.poll(0):
            if (channel := self._channels.get(fd)) is None:
                continue  # a task that an earlier event woke has closed it
            if events & _READABLE:
                channel.may_read = True
            if events & _WRITABLE:
                channel.may_write = True
            if events & _ENDED:
                channel.ended = True
                channel.gone = channel.gone or bool(events & _GONE)
            channel.waker.wake()
