"""Clients that send uploads with little CPU: one blocking thread each, and the kernel reads the bytes from memory.

An upload is a tus upload (POST, then the whole body in one PATCH) or a plain PUT.
"""

from __future__ import annotations

import os
import secrets
import socket
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from http.client import HTTPResponse
from urllib.parse import urlsplit

from changeover.kit.pattern import pattern

SOURCE = os.memfd_create("uploads")
SIZE = 64_000_000
"""Bytes of the file in memory; a longer body repeats it."""
for _ in range(64):
    os.write(SOURCE, pattern(0, SIZE // 64))

CONGESTION = b"reno"
"""Congestion control of the sender: bbr, the default of some machines, paces bytes even over loopback."""
TIMEOUT = 300.0
"""Seconds until a server without a response has failed."""
TUS = "Tus-Resumable: 1.0.0\r\n"


class Connection:
    """One client. Raises OSError, and AssertionError for an unexpected response."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION)
        # A timeout of Python makes the socket non-blocking and costs a system call for each wake-up.
        self._socket.settimeout(None)

    def begin(self, size: int) -> str:
        """Create a tus upload; returns its path."""
        self.head("POST", "/files/", 0, f"{TUS}Upload-Length: {size}\r\n")
        location = str(self.response(201)["location"])
        return urlsplit(location).path if "/" in location else f"/files/{location}"

    def tus(self, size: int) -> None:
        """Send a whole tus upload."""
        path = self.begin(size)
        self.patch(path, size)
        self.send(size)
        self.response(204)

    def patch(self, path: str, size: int) -> None:
        self.head("PATCH", path, size, f"{TUS}Upload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\n")

    def put(self, size: int) -> None:
        self.head("PUT", f"/put/{secrets.token_hex(8)}", size)
        self.send(size)
        self.response(201)

    def head(self, method: str, path: str, size: int, more: str = "") -> None:
        lines = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {size}\r\n{more}\r\n"
        self._socket.sendall(lines.encode())

    def send(self, size: int) -> None:
        sent = 0
        while sent < size:
            offset = sent % SIZE
            sent += os.sendfile(self._socket.fileno(), SOURCE, offset, min(size - sent, SIZE - offset))

    def response(self, expected: int) -> Message:
        """Read the response and return its headers."""
        response = HTTPResponse(self._socket)
        response.begin()
        assert response.status == expected, f"{response.status}: {response.read()!r}"
        response.read()
        return response.headers

    def close(self) -> None:
        self._socket.close()


def upload(port: int, dialect: str, size: int, clients: int, each: int) -> None:
    """Run `clients` concurrent clients, each with `each` uploads in a row. Raises as Connection does."""

    def client(_: int) -> None:
        connection = Connection(port)
        for _ in range(each):
            if dialect == "tus":
                connection.tus(size)
            else:
                connection.put(size)
        connection.close()

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
