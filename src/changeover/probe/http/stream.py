"""A connected socket, plain or TLS, that can check whether the server has sent or closed anything while idle.

asyncio's streams do not fit, for two reasons. After a failed write they drop the bytes that the peer has sent, and with
them the 502 or 413 that explains the failure; this stream still reads them. They also read in the background, whereas
this stream detects a closed idle connection right before it is used again.

Refuses to know HTTP, to retry, and to limit time: the caller does that.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from dataclasses import dataclass
from typing import Any

_READ = 65_536
_READS_IN_A_ROW = 8  # successive reads that find data, before other tasks run: a download must not delay the GETs
_TCP_CLOSE = 7  # TCP_CLOSE in linux/tcp_states.h; Python has no name for it
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class ConnectionFailed(Exception):
    """The connection cannot be used any more. The text is the cause: `reset`, `closed`, `connect refused`, ..."""


@dataclass(frozen=True)
class Endpoint:
    """A resolved address. `tls` None: plain TCP."""

    family: int
    address: tuple[Any, ...]
    host: str
    tls: ssl.SSLContext | None


class Stream:
    """One connection, made by `connect`. After a failed `send`, `receive` still returns what has arrived."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._in_a_row = 0

    @classmethod
    async def connect(cls, endpoint: Endpoint) -> Stream:
        """Raises ConnectionFailed; the reasons of a failed connect and of a failed handshake differ."""
        sock = socket.socket(endpoint.family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                await asyncio.get_running_loop().sock_connect(sock, endpoint.address)
            except OSError as error:
                raise ConnectionFailed(_connect_failure(error)) from error
            if endpoint.tls:
                sock = secured = _wrap(sock, endpoint.tls, endpoint.host)
                await _handshake(secured)
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    async def send(self, data: bytes) -> None:
        """Write all of `data` to the kernel. Raises ConnectionFailed, possibly after a part was sent."""
        left = memoryview(data)
        while left:
            try:
                left = left[self._sock.send(left) :]
            except _WOULD_BLOCK as wait:
                await _until_ready(self._sock, wait, to_write=True)
            except OSError as error:
                raise ConnectionFailed(_failure(self._sock, error)) from error

    async def receive(self) -> bytes:
        """Some bytes; empty at the end of the stream. Raises ConnectionFailed."""
        self._in_a_row += 1
        if self._in_a_row > _READS_IN_A_ROW:
            self._in_a_row = 0
            await asyncio.sleep(0)
        while True:
            try:
                return self._sock.recv(_READ)
            except _WOULD_BLOCK as wait:
                self._in_a_row = 0
                await _until_ready(self._sock, wait, to_write=False)
            except OSError as error:
                if (failure := _failure(self._sock, error)) == "closed":
                    return b""
                raise ConnectionFailed(failure) from error

    def is_quiet(self) -> bool:
        """Whether the server has neither closed the connection nor sent bytes since the last response."""
        try:
            self._sock.recv(1)
        except _WOULD_BLOCK:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Send a TLS close_notify if that does not block, then close."""
        if isinstance(self._sock, ssl.SSLSocket):
            with contextlib.suppress(OSError, ValueError):
                self._sock.unwrap()
        self._sock.close()


def _wrap(sock: socket.socket, tls: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    try:
        return tls.wrap_socket(sock, do_handshake_on_connect=False, suppress_ragged_eofs=False, server_hostname=host)
    except OSError as error:
        raise ConnectionFailed(_handshake_failure(sock, error)) from error


async def _handshake(sock: ssl.SSLSocket) -> None:
    while True:
        try:
            return sock.do_handshake()
        except _WOULD_BLOCK as wait:
            await _until_ready(sock, wait, to_write=False)
        except OSError as error:
            raise ConnectionFailed(_handshake_failure(sock, error)) from error


async def _until_ready(sock: socket.socket, wait: OSError, *, to_write: bool) -> None:
    """Wait until the operation can continue. TLS may need to read in order to write, and the reverse."""
    if isinstance(wait, ssl.SSLError):
        to_write = isinstance(wait, ssl.SSLWantWriteError)
    loop, number = asyncio.get_running_loop(), sock.fileno()
    ready: asyncio.Future[None] = loop.create_future()
    (loop.add_writer if to_write else loop.add_reader)(number, _wake, ready)
    try:
        await ready
    finally:
        (loop.remove_writer if to_write else loop.remove_reader)(number)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _failure(sock: socket.socket, error: OSError) -> str:
    if not isinstance(error, ssl.SSLError):
        return "reset"
    if not isinstance(error, ssl.SSLEOFError):
        return "tls failed"
    # OpenSSL reports a reset and an end without close_notify alike. After the latter the kernel has a half-open socket.
    state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return "reset" if state == _TCP_CLOSE else "closed"


def _connect_failure(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connect refused"
    return "connect timeout" if isinstance(error, TimeoutError) else "connect failed"


def _handshake_failure(sock: socket.socket, error: OSError) -> str:
    failure = _failure(sock, error)
    return failure if failure == "tls failed" else f"{failure} during handshake"
