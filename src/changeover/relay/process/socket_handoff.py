"""How one process of a relay takes over from another on the same machine: it gets the listening sockets themselves.

The socket is one, its queue is one, and both processes take from it until the old one hears that the new one serves. So
at no moment does nobody listen, and no connection in the queue is lost, which closing one of several sockets of
SO_REUSEPORT would do. The sockets travel over a Unix socket (SCM_RIGHTS, unix(7)); who may write to it may take over.
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
    """The way to tell the predecessor that its successor serves, and its listeners. Raises OSError."""
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
        raise OSError(0, "it hands over no listening sockets")
    return predecessor, [socket.socket(fileno=descriptor) for descriptor in descriptors]


def report_serving(predecessor: socket.socket) -> None:
    """From here on the successor takes connections; the predecessor may stop."""
    with contextlib.suppress(OSError), predecessor:
        predecessor.sendall(_SERVING)


def passed_by_systemd() -> list[socket.socket]:
    """The sockets that systemd opened for this process; none where it was not systemd that started it."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    return [socket.socket(fileno=number) for number in range(FIRST_PASSED, FIRST_PASSED + count)]


async def offer(control: Path, listeners: Callable[[], Sequence[socket.socket]]) -> None:
    """Return when a successor has the listeners and serves. Raises OSError when `control` cannot be made."""
    loop = asyncio.get_running_loop()
    fresh = control.with_name(f"{control.name}.{os.getpid()}")
    with socket.socket(socket.AF_UNIX) as here:
        here.setblocking(False)
        try:
            here.bind(str(fresh))
        except OSError as error:  # which does not say for what
            raise OSError(error.errno, error.strerror or str(error), str(control)) from None
        fresh.chmod(0o600)
        here.listen()
        fresh.rename(control)  # at once, also over that of a predecessor
        while True:
            successor, _ = await loop.sock_accept(here)
            with successor, contextlib.suppress(OSError, TimeoutError):
                socket.send_fds(successor, [_HERE], [each.fileno() for each in listeners()])
                if await loop.sock_recv(successor, len(_SERVING)) == _SERVING:
                    return
