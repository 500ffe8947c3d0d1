"""Handoff of the listening sockets from one process of a relay to its successor on the same machine.

Both processes accept from the same socket until the successor reports that it serves. So one of them listens at every
moment, and no connection in the queue is lost, as it would be with several sockets of SO_REUSEPORT. The sockets are
passed over a Unix socket (SCM_RIGHTS, unix(7)); a process that may write to it may take over.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

_HERE = b"listeners"
_SERVING = b"serving"
MAX_LISTENERS = 16
"""Listening sockets."""
FIRST_PASSED = 3
"""Of the descriptors that systemd passes (sd_listen_fds(3))."""


def take_over(control: Path) -> tuple[socket.socket, list[socket.socket]]:
    """A connection to the predecessor, and its listeners. Raises OSError."""
    predecessor = socket.socket(socket.AF_UNIX)
    try:
        predecessor.settimeout(10)
        predecessor.connect(str(control))
        word, descriptors, _, _ = socket.recv_fds(predecessor, len(_HERE), MAX_LISTENERS)
    except BaseException:
        predecessor.close()
        raise
    if word != _HERE or not descriptors:
        predecessor.close()
        raise OSError(0, "the relay at --control passed no listening sockets")
    return predecessor, [socket.socket(fileno=descriptor) for descriptor in descriptors]


def report_serving(predecessor: socket.socket) -> None:
    """The successor accepts connections from here on; the predecessor may drain."""
    with contextlib.suppress(OSError), predecessor:
        predecessor.sendall(_SERVING)


def passed_by_systemd() -> list[socket.socket]:
    """The sockets that systemd opened for this process; none if systemd did not start it."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    return [socket.socket(fileno=number) for number in range(FIRST_PASSED, FIRST_PASSED + count)]


async def offer(control: Path, listeners: Callable[[], Sequence[socket.socket]]) -> None:
    """Return once a successor has the listeners and serves. Raises OSError if `control` cannot be created."""
    loop = asyncio.get_running_loop()
    fresh = control.with_name(f"{control.name}.{os.getpid()}")
    with socket.socket(socket.AF_UNIX) as here:
        here.setblocking(False)
        try:
            here.bind(str(fresh))
        except OSError as error:  # the error of bind(2) has no file name
            raise OSError(error.errno, error.strerror or str(error), str(control)) from None
        fresh.chmod(0o600)
        here.listen()
        fresh.rename(control)  # atomic, also over the socket of a predecessor
        while True:
            successor, _ = await loop.sock_accept(here)
            with successor, contextlib.suppress(OSError, TimeoutError):
                socket.send_fds(successor, [_HERE], [each.fileno() for each in listeners()])
                if await loop.sock_recv(successor, len(_SERVING)) == _SERVING:
                    return
