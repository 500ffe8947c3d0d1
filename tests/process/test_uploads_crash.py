"""Uploads to a process that is killed at every call to its store and at random instants, and comes back.

SIGKILL loses what the process had not handed to the kernel, and nothing else: this is about the order of things. What
a loss of power would take is the store's own test. Of a bucket, the call is the request that the service gets: it is
killed before the service does what it is asked, or when that is done and it has not heard of it.
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
from tests.unit.uploads.buckets import Fault, Service, amazon, google

REPOSITORY = Path(__file__).parents[2]
DEEP = os.environ.get("CHANGEOVER_HYPOTHESIS") == "deep"
LIVES = 400 if DEEP else 60
every_seed = pytest.mark.parametrize("seed", range(10 if DEEP else 1))
CALLS = 60
"""Calls to the disk within which a life ends; a small upload takes about thirty."""
REQUESTS = 24
"""The same of requests to a bucket; a small upload takes about a dozen."""


class Server:
    """A server with many lives, at one address."""

    def __init__(self, store: object, *mutant: str) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listening.getsockname()[1]
        descriptor = self.listening.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-m", uploads_server.__name__, str(store), str(descriptor), *mutant],
            cwd=REPOSITORY,
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
        self._process.communicate(timeout=40)
        self.listening.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.close()


@dataclass
class Client:
    """Uploads one thing after the other, in pieces, and remembers what was acknowledged."""

    server: Server
    chance: random.Random
    alive: Callable[[], bool] = lambda: True
    place: str = ""
    whole: bytes = b""
    acknowledged: int = 0
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
        self.acknowledged = self.sent = 0
        status, headers, _ = self.ask("POST", "/", upload_complete="?0")
        assert status == 201
        self.place = headers["location"]

    def offset(self) -> int:
        status, headers, _ = self.ask("HEAD", self.place)
        assert status == 204, f"an upload is gone: {status}"
        offset = int(headers["upload-offset"])
        assert self.acknowledged <= offset <= self.sent, self._acknowledged(offset)
        self.acknowledged = offset
        return offset

    def _acknowledged(self, offset: int) -> str:
        return f"acknowledged: {self.acknowledged} of {self.sent}; there: {offset}"

    def append(self, offset: int) -> None:
        end = min(len(self.whole), offset + self.chance.randrange(0, 20_000))
        headers_sent = {"upload_offset": str(offset), "upload_complete": f"?{end == len(self.whole):d}"}
        self.sent = max(self.sent, end)
        piece = self.whole[offset:end]
        status, headers, body = self.ask(
            "PATCH", self.place, piece, content_type="application/partial-upload", **headers_sent
        )
        if status == 503:
            return  # the process that called the handler has just died: again
        assert "upload-offset" in headers, (
            f"{status} to {len(piece)} bytes from {offset} on, without an offset: {body!r}"
        )
        assert int(headers["upload-offset"]) == end, self._acknowledged(int(headers["upload-offset"]))
        self.acknowledged = end
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


@every_seed
def test_no_byte_is_lost_or_doubled_whichever_call_is_the_last(server: Server, seed: int) -> None:
    client = Client(server, random.Random(seed))
    die_at_every_call(server, client)
    assert client.finished > LIVES / 20


def die_at_any_time(server: Server, client: Client, longest: float) -> None:
    """And be left alone in the end, to see that what was begun can be finished."""
    for _ in range(LIVES // 10):
        with server.life("never") as pid:
            killing = threading.Timer(client.chance.uniform(0.02, longest), os.kill, (pid, signal.SIGKILL))
            killing.start()
            client.alive = killing.is_alive
            try:
                client.go_on_for_ever()
            finally:
                killing.join()
    client.alive, before = lambda: True, client.finished
    while client.finished == before:
        with server.life("never"):
            while client.finished == before:
                client.go_on()


@every_seed
def test_no_byte_is_lost_or_doubled_whenever_it_is_killed(server: Server, seed: int) -> None:
    client = Client(server, random.Random(seed))
    die_at_any_time(server, client, 0.15)


def test_a_server_that_acknowledges_before_it_commits_is_caught(tmp_path: Path) -> None:
    with contextlib.closing(Server(tmp_path, "hasty")) as server, pytest.raises(AssertionError, match="acknowledged"):
        die_at_every_call(server, Client(server, random.Random(2)))


# -- a bucket --------------------------------------------------------------------------------------------------------


@dataclass
class Bucket:
    service: Service
    kind: str

    @contextlib.contextmanager
    def server(self, *mutant: str) -> Iterator[Server]:
        with contextlib.closing(Server(f"{self.kind}+{self.service.url}", *mutant)) as server:
            yield server

    def kills(self, pid: int, after: int, *, done: bool) -> contextlib.AbstractContextManager[None]:
        """The server dies of its next request after that many; `done`: of hearing what came of it."""

        def kill() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

        return self.service.failing(Fault("*", status=500, after=after, times=1, done=done, then=kill))


@pytest.fixture(scope="module", params=["s3", "gcs"] if DEEP else ["s3"])
def bucket(request: pytest.FixtureRequest) -> Iterator[Bucket]:
    with contextlib.closing({"s3": amazon, "gcs": google}[request.param]()) as service:
        yield Bucket(service, request.param)


def die_at_every_request(bucket: Bucket, server: Server, client: Client) -> None:
    for life in range(LIVES if DEEP else REQUESTS):
        done = client.chance.choice([False, True])
        with server.life("never") as pid, bucket.kills(pid, life % REQUESTS, done=done):
            client.go_on_for_ever()


@every_seed
def test_no_byte_in_a_bucket_is_lost_or_doubled_whichever_request_is_the_last(bucket: Bucket, seed: int) -> None:
    with bucket.server() as server:
        client = Client(server, random.Random(seed))
        die_at_every_request(bucket, server, client)
        assert client.finished


@every_seed
def test_no_byte_in_a_bucket_is_lost_or_doubled_whenever_it_is_killed(bucket: Bucket, seed: int) -> None:
    with bucket.server() as server:
        client = Client(server, random.Random(seed))
        die_at_any_time(server, client, 0.4)


def die_again_and_again(bucket: Bucket, server: Server) -> None:
    for seed in range(2, 10):
        die_at_every_request(bucket, server, Client(server, random.Random(seed)))


def test_a_server_that_acknowledges_before_the_bucket_has_it_is_caught(bucket: Bucket) -> None:
    """Sooner or later: its death has to come between what it says and what it does, which are not far apart."""
    with bucket.server("hasty") as server, pytest.raises(AssertionError, match="acknowledged"):
        die_again_and_again(bucket, server)
