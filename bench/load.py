"""Uploads as cheap to send as can be: one blocking thread each, whose bytes the kernel takes from a file in memory.

They begin and go on as tus has it (POST, then all of it in one PATCH), or are plain PUTs.
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
"""Bytes of the file in memory; a longer body goes through it again."""
for _ in range(64):
    os.write(SOURCE, pattern(0, SIZE // 64))

CONGESTION = b"reno"
"""Of the sender, which decides: bbr, where that is the default, paces bytes even over loopback."""
PATIENCE = 300.0
"""Seconds until a server that answers nothing has failed."""
TUS = "Tus-Resumable: 1.0.0\r\n"


class Connection:
    """One client. Raises OSError, and AssertionError on an answer that is not the one wanted."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION)
        # Python's timeout would make it non-blocking, and a call for every wake-up; the kernel's does not.
        self._socket.settimeout(None)

    def begin(self, size: int) -> str:
        """Make an upload by tus; its path."""
        self.head("POST", "/files/", 0, f"{TUS}Upload-Length: {size}\r\n")
        place = str(self.answer(201)["location"])
        return urlsplit(place).path if "/" in place else f"/files/{place}"

    def tus(self, size: int) -> None:
        """A whole upload."""
        place = self.begin(size)
        self.patch(place, size)
        self.send(size)
        self.answer(204)

    def patch(self, place: str, size: int) -> None:
        self.head("PATCH", place, size, f"{TUS}Upload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\n")

    def put(self, size: int) -> None:
        self.head("PUT", f"/put/{secrets.token_hex(8)}", size)
        self.send(size)
        self.answer(201)

    def head(self, method: str, path: str, size: int, more: str = "") -> None:
        lines = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {size}\r\n{more}\r\n"
        self._socket.sendall(lines.encode())

    def send(self, size: int) -> None:
        sent = 0
        while sent < size:
            offset = sent % SIZE
            sent += os.sendfile(self._socket.fileno(), SOURCE, offset, min(size - sent, SIZE - offset))

    def answer(self, wanted: int) -> Message:
        """The headers of the answer."""
        answer = HTTPResponse(self._socket)
        answer.begin()
        assert answer.status == wanted, f"{answer.status}: {answer.read()!r}"
        answer.read()
        return answer.headers

    def close(self) -> None:
        self._socket.close()


def upload(port: int, dialect: str, size: int, at_once: int, each: int) -> None:
    """`at_once` clients side by side, `each` uploads one after the other. Raises as a Connection does."""

    def client(_: int) -> None:
        connection = Connection(port)
        for _ in range(each):
            if dialect == "tus":
                connection.tus(size)
            else:
                connection.put(size)
        connection.close()

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(client, range(at_once)))
