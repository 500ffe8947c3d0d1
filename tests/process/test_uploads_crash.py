"""Uploads to a process that is killed at every call to the disk and at random instants, and comes back.

SIGKILL loses what the process had not handed to the kernel, and nothing else: this is about the order of things. What
a loss of power would take is the store's own test.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.process import uploads_server

DEEP = os.environ.get("CHANGEOVER_HYPOTHESIS") == "deep"
LIVES = 4000 if DEEP else 60
CALLS = 60
"""Calls to the disk within which a life ends; a small upload takes about thirty."""


class Server:
    """A server with many lives, at one address."""

    def __init__(self, folder: Path, *mutant: str) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listening.getsockname()[1]
        descriptor = self.listening.fileno()
        self._process = subprocess.Popen(
            [sys.executable, uploads_server.__file__, str(folder), str(descriptor), *mutant],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[descriptor],
        )

    @contextlib.contextmanager
    def life(self, when: str, number: int = 0) -> Iterator[int]:
        """A life, with its pid. What breaks off with it is no error."""
        assert self._process.stdin is not None
        print(when, number, file=self._process.stdin, flush=True)
        pid = int(self._said())
        try:
            with contextlib.suppress(OSError, http.client.HTTPException):
                yield pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            assert self._said() == "dead"

    def _said(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.communicate(timeout=10)
        self.listening.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.close()


@dataclass
class Client:
    """Uploads one thing after the other, in pieces, and remembers what it was told."""

    server: Server
    chance: random.Random
    alive: Callable[[], bool] = lambda: True
    place: str = ""
    whole: bytes = b""
    told: int = 0
    sent: int = 0
    """The furthest byte that can be there."""
    answer: bytes = b""
    finished: int = 0

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
        # The listening socket outlives the server: who connects between two lives is not refused, but never answered.
        if not self.alive():
            raise ConnectionError
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=1)
        with contextlib.closing(connection):
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            got = connection.getresponse()
            return got.status, {name.lower(): value for name, value in got.getheaders()}, got.read()

    def go_on(self) -> None:
        """One step, from whatever is known."""
        if not self.place:
            self.begin()
        elif self.answer:
            self.check_content()
        else:
            self.append(self.offset())

    def go_on_for_ever(self) -> None:
        """Until the server is no more."""
        while True:
            self.go_on()

    def begin(self) -> None:
        self.whole = self.chance.randbytes(self.chance.randrange(1, 40_000))
        self.told = self.sent = 0
        status, headers, _ = self.ask("POST", "/", upload_complete="?0")
        assert status == 201
        self.place = headers["location"]

    def offset(self) -> int:
        status, headers, _ = self.ask("HEAD", self.place)
        assert status == 204, f"an upload is gone: {status}"
        offset = int(headers["upload-offset"])
        assert self.told <= offset <= self.sent
        self.told = offset
        return offset

    def append(self, offset: int) -> None:
        end = min(len(self.whole), offset + self.chance.randrange(0, 20_000))
        said = {"upload_offset": str(offset), "upload_complete": f"?{end == len(self.whole):d}"}
        self.sent = max(self.sent, end)
        piece = self.whole[offset:end]
        status, headers, body = self.ask("PATCH", self.place, piece, content_type="application/partial-upload", **said)
        if status == 503:
            return  # whoever asked the application died just now: again
        assert int(headers["upload-offset"]) == end
        self.told = end
        if headers["upload-complete"] == "?1":
            assert (status, body.split()[0].decode()) == (200, hashlib.sha256(self.whole).hexdigest())
            self.answer = body

    def check_content(self) -> None:
        assert self.ask("GET", f"{self.place}/content")[2] == self.whole
        end = {"upload_offset": str(len(self.whole)), "upload_complete": "?1"}
        again = self.ask("PATCH", self.place, b"", content_type="application/partial-upload", **end)
        assert (again[0], again[2]) == (200, self.answer)
        self.finished += 1
        self.place, self.answer = "", b""


def die_at_every_call(server: Server, client: Client) -> None:
    for life in range(LIVES):
        with server.life(client.chance.choice(["before", "after"]), life % CALLS + 1):
            client.go_on_for_ever()


def test_no_byte_is_lost_or_doubled_whichever_call_is_the_last(server: Server) -> None:
    client = Client(server, random.Random(0))
    die_at_every_call(server, client)
    assert client.finished > LIVES / 20


def test_no_byte_is_lost_or_doubled_whenever_it_is_killed(server: Server) -> None:
    client = Client(server, random.Random(1))
    for _ in range(LIVES // 4):
        with server.life("never") as pid:
            killing = threading.Timer(client.chance.uniform(0.02, 0.15), os.kill, (pid, signal.SIGKILL))
            killing.start()
            client.alive = killing.is_alive
            try:
                client.go_on_for_ever()
            finally:
                killing.join()
    assert client.finished


def test_a_server_that_acknowledges_before_it_commits_is_caught(tmp_path: Path) -> None:
    with contextlib.closing(Server(tmp_path, "hasty")) as server, pytest.raises(AssertionError):
        die_at_every_call(server, Client(server, random.Random(2)))
