"""A connected socket, plain or TLS, that can be asked whether it is still quiet.

asyncio's own streams are not used, for two reasons. When a write fails they drop what the peer had already
sent, and with it the 502 or 413 that explains the failure; here reading goes on after a failed write. And
they read in the background, whereas here a connection closed while idle is found out in the instant before it
is used again.

Refuses to know HTTP, to retry, and to time anything: whoever waits sets the limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from dataclasses import dataclass
from typing import Any

_READ = 65_536
_IN_A_ROW = 8  # reads that found data at once before others get their turn: a download must not delay the GETs
_TCP_CLOSE = 7  # from linux/tcp_states.h, which Python does not name
_MUST_WAIT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class ConnectionFailed(Exception):
    """The connection is of no more use. The text says how: `reset`, `closed`, `connect refused`, ..."""


@dataclass(frozen=True)
class Endpoint:
    """Where to connect, resolved. `tls` None: plain TCP."""

    family: int
    address: tuple[Any, ...]
    host: str
    tls: ssl.SSLContext | None


class Stream:
    """One connection, made by `connect`. After a failed `send`, `receive` still gives what had come."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._in_a_row = 0

    @classmethod
    async def connect(cls, endpoint: Endpoint) -> Stream:
        """Raises ConnectionFailed with a reason of its own for a failed connect and for a failed handshake."""
        sock = socket.socket(endpoint.family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                await asyncio.get_running_loop().sock_connect(sock, endpoint.address)
            except OSError as error:
                raise ConnectionFailed(_why_not_connected(error)) from error
            if endpoint.tls:
                sock = secured = _wrapped(sock, endpoint.tls, endpoint.host)
                await _shake_hands(secured)
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    async def send(self, data: bytes) -> None:
        """Hand all of it to the kernel. Raises ConnectionFailed; part may have been sent by then."""
        left = memoryview(data)
        while left:
            try:
                left = left[self._sock.send(left) :]
            except _MUST_WAIT as wait:
                await _until_ready(self._sock, wait, to_write=True)
            except OSError as error:
                raise ConnectionFailed(_how(self._sock, error)) from error

    async def receive(self) -> bytes:
        """Some bytes; none at the end of the stream. Raises ConnectionFailed."""
        self._in_a_row += 1
        if self._in_a_row > _IN_A_ROW:
            self._in_a_row = 0
            await asyncio.sleep(0)
        while True:
            try:
                return self._sock.recv(_READ)
            except _MUST_WAIT as wait:
                self._in_a_row = 0
                await _until_ready(self._sock, wait, to_write=False)
            except OSError as error:
                if (how := _how(self._sock, error)) == "closed":
                    return b""
                raise ConnectionFailed(how) from error

    def quiet(self) -> bool:
        """Whether nothing came since the last answer: neither the end nor bytes that nobody asked for."""
        try:
            self._sock.recv(1)
        except _MUST_WAIT:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Say goodbye as far as that needs no waiting, then close."""
        if isinstance(self._sock, ssl.SSLSocket):
            with contextlib.suppress(OSError, ValueError):
                self._sock.unwrap()
        self._sock.close()


def _wrapped(sock: socket.socket, tls: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    try:
        return tls.wrap_socket(sock, do_handshake_on_connect=False, suppress_ragged_eofs=False, server_hostname=host)
    except OSError as error:
        raise ConnectionFailed(_why_not_secured(sock, error)) from error


async def _shake_hands(sock: ssl.SSLSocket) -> None:
    while True:
        try:
            return sock.do_handshake()
        except _MUST_WAIT as wait:
            await _until_ready(sock, wait, to_write=False)
        except OSError as error:
            raise ConnectionFailed(_why_not_secured(sock, error)) from error


async def _until_ready(sock: socket.socket, wait: OSError, *, to_write: bool) -> None:
    """Wait for what the operation lacked. TLS says it; a plain socket lacks what it was asked to do."""
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


def _how(sock: socket.socket, error: OSError) -> str:
    if not isinstance(error, ssl.SSLError):
        return "reset"
    if not isinstance(error, ssl.SSLEOFError):
        return "tls failed"
    # To OpenSSL a reset and an end without a goodbye are one. The kernel knows: after the latter, half is still open.
    state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return "reset" if state == _TCP_CLOSE else "closed"


def _why_not_connected(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connect refused"
    return "connect timeout" if isinstance(error, TimeoutError) else "connect failed"


def _why_not_secured(sock: socket.socket, error: OSError) -> str:
    how = _how(sock, error)
    return how if how == "tls failed" else f"{how} during handshake"
