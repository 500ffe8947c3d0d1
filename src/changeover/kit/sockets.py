"""Free ports, and who is connected to one."""

from __future__ import annotations

import random
import socket
from collections.abc import Container
from pathlib import Path

# Below the range from which Linux takes the ports of outgoing connections (32768-60999): a listener in that range
# fails now and then with "address in use" because somebody's client happens to hold it.
_LISTENERS = range(20000, 32000)

# TCP states in which the peer may still send or expect bytes: ESTABLISHED, SYN_RECV, CLOSE_WAIT.
_OPEN = ("01", "03", "08")


def free_port(host: str, taken: Container[int] = ()) -> int:
    """A port that can be listened on just now and is not in `taken`. Raises OSError when 200 tries found none."""
    for _ in range(200):
        port = random.choice(_LISTENERS)
        if port not in taken and can_listen(host, port):
            return port
    raise OSError(f"no free port on {host} between {_LISTENERS.start} and {_LISTENERS.stop}")


def can_listen(host: str, port: int) -> bool:
    """Whether somebody could listen there just now."""
    return cannot_listen(host, port) is None


def cannot_listen(host: str, port: int) -> str | None:
    """Why nobody can listen there just now, in the system's words; None when one can."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
            trial.listen(1)
        except OSError as error:
            return error.strerror or str(error)
        return None


def open_connections(port: int) -> int:
    """TCP connections open on a local IPv4 port, those still in its accept queue included (/proc/net/tcp).

    The kernel's own account: it needs no cooperation of the server and misses nothing that could be reset.
    """
    suffix = f":{port:04X}"
    count = 0
    with Path("/proc/net/tcp").open() as table:
        next(table)
        for line in table:
            _, local, _, state, *_ = line.split(maxsplit=4)
            count += local.endswith(suffix) and state in _OPEN
    return count
