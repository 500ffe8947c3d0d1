"""Find free ports and count the connections of a port."""

from __future__ import annotations

import random
import socket
from collections.abc import Container
from pathlib import Path

from changeover.kit import tcp

# Below the range from which Linux takes the ports of outgoing connections (32768-60999): a listener in that range
# sometimes fails with "address in use" because a client connection happens to hold the port.
_LISTENERS = range(20000, 32000)

BACKLOG = 4096
"""Connections that wait to be accepted; the kernel bounds it by net.core.somaxconn, which has that value."""

# TCP states in which the peer may still send or expect bytes: ESTABLISHED, SYN_RECV, CLOSE_WAIT.
_OPEN = ("01", "03", "08")


def free_port(host: str, taken: Container[int] = ()) -> int:
    """A port that is free now and not in `taken`. Raises OSError after 200 attempts."""
    for _ in range(200):
        port = random.choice(_LISTENERS)
        if port not in taken and can_listen(host, port):
            return port
    raise OSError(f"found no free port on {host} between {_LISTENERS.start} and {_LISTENERS.stop}")


def can_listen(host: str, port: int) -> bool:
    """Whether a process can listen on that address now."""
    return cannot_listen(host, port) is None


def cannot_listen(host: str, port: int) -> str | None:
    """The system's error for listening on that address now; None when it is free."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
            trial.listen(1)
        except OSError as error:
            return error.strerror or str(error)
        return None


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens on that address. Raises OSError with the address as its `filename`."""
    found = socket.socket()
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(BACKLOG)
    except OSError as error:
        found.close()
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from error
    return found


def open_connections(port: int, host: str = "") -> int:
    """Open TCP connections of a local port, including those in the accept queue. `host`: see `tcp.connections`.

    The kernel counts them without the help of the server, and includes every connection that a stop would reset.
    """
    try:
        return len(tcp.connections(port, host)[0])
    except OSError:  # sock_diag is not everywhere: a sandbox may refuse it
        return sum(_listed(port, table) for table in ("tcp", "tcp6"))


_LISTENS = "00010000"
"""The flag of a listening socket in /proc/net/unix. Its connections have the same path."""


def at_unix_socket(path: str) -> int | None:
    """Connections to the Unix socket at `path`, including those in its accept queue.

    None where nothing listens under that name: a server may have bound it under another one.
    """
    count, listens = 0, False
    for line in Path("/proc/net/unix").read_text(encoding="utf-8", errors="surrogateescape").splitlines()[1:]:
        fields = line.split(maxsplit=7)
        if fields[7:] == [path]:
            count += fields[3] != _LISTENS
            listens |= fields[3] == _LISTENS
    return count if listens else None


def _listed(port: int, table: str) -> int:
    suffix = f":{port:04X}"
    count = 0
    try:
        lines = Path(f"/proc/net/{table}").read_text(encoding="utf-8").splitlines()[1:]
    except FileNotFoundError:
        return 0  # without IPv6
    for line in lines:
        _, local, _, state, *_ = line.split(maxsplit=4)
        count += local.endswith(suffix) and state in _OPEN
    return count
