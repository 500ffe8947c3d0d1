"""Where an instance listens: at its port, on a socket that it inherits, or at a Unix socket in its folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from socket import socket

from changeover.kit import process, sockets
from changeover.model.instance import Instance, LaunchSpec
from changeover.ports import CannotStart

LONGEST_PATH = 97
"""Bytes that the path of a Unix socket may have: the kernel takes 107, HAProxy 2.6 no more than 97."""


def placed(instance: Instance, launch: LaunchSpec) -> Instance:
    """The instance with its Unix socket, where it has one. Raises CannotStart for a path that is too long."""
    if launch.socket and len(launch.socket.encode()) > LONGEST_PATH:
        raise CannotStart(
            f"the path of its Unix socket has more than {LONGEST_PATH} bytes: {launch.socket}. Give `up` a shorter "
            "--state folder"
        )
    if launch.socket:
        Path(launch.socket).unlink(missing_ok=True)  # of an earlier process of this instance
    return replace(instance, socket=launch.socket)


def spawn(instance: Instance, launch: LaunchSpec, env: dict[str, str]) -> tuple[int, int]:
    """Start the process; return its pid and start time. Raises CannotStart."""
    folder, at = Path(instance.directory), instance.address
    cwd = Path(launch.cwd) if launch.cwd else None
    allowed = process.Ownership(launch.umask, launch.user, launch.nofile)
    try:
        with _inherited(instance, launch) as listener:
            return process.spawn(launch.argv, home=folder, env=env, cwd=cwd, allowed=allowed, listener=listener)
    except OSError as error:
        where = error.filename if error.filename in (launch.cwd, str(at)) else launch.argv[0]
        raise CannotStart(f"{where}: {error.strerror}") from error


@contextlib.contextmanager
def _inherited(instance: Instance, launch: LaunchSpec) -> Iterator[socket | None]:
    if not launch.inherits:
        yield None
        return
    with sockets.listening(instance.address.host, instance.address.port) as listener:
        yield listener
