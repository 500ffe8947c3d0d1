"""Uploads of processes that sleep or shut down during them."""

from __future__ import annotations

import contextlib
import http.client
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from os import kill
from pathlib import Path

import pytest
from tests.process.test_uploads_crash import Client, Server
from tests.unit.uploads.buckets import amazon

PATIENCE = 40.0
WHOLE = bytes(range(20))
PARTIAL = "application/partial-upload"


@contextlib.contextmanager
def under_way(port: int, place: str, sent: bytes) -> Iterator[socket.socket]:
    """An append of WHOLE of which that much has been sent. Its server has taken the upload when this begins."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        head = [
            f"PATCH {place} HTTP/1.1",
            "Host: x",
            f"Content-Type: {PARTIAL}",
            f"Content-Length: {len(WHOLE)}",
            "Upload-Offset: 0",
            "Upload-Complete: ?1",
            "Expect: 100-continue",
        ]
        connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n")
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            more = connection.recv(1)
            assert more, asked
            asked += more
        assert asked.startswith(b"HTTP/1.1 100 ")
        connection.sendall(sent)
        yield connection


def answer(connection: socket.socket) -> tuple[int, dict[str, str]]:
    got = http.client.HTTPResponse(connection, method="PATCH")
    got.begin()
    return got.status, {name.lower(): value for name, value in got.getheaders()}


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "disk":
        yield str(tmp_path)
    else:
        with contextlib.closing(amazon()) as service:
            yield f"s3+{service.url}"


def test_a_holder_that_sleeps_is_waited_for_by_nobody_and_has_lost_the_upload_when_it_wakes(store: str) -> None:
    awake = False
    with (
        contextlib.closing(Server(store)) as a,
        contextlib.closing(Server(store)) as b,
        a.life("never") as sleeper,
        b.life("never"),
    ):
        old, new = Client(a, random.Random(0)), Client(b, random.Random(0))
        place = old.ask("POST", "/", upload_complete="?0")[1]["location"]
        with under_way(a.port, place, WHOLE[:10]) as connection:
            kill(sleeper, signal.SIGSTOP)
            offset = int(new.ask("HEAD", place)[1]["upload-offset"])
            headers = {"upload_offset": str(offset), "upload_complete": "?1", "content_type": PARTIAL}
            assert new.ask("PATCH", place, WHOLE[offset:], **headers)[0] == 200
            kill(sleeper, signal.SIGCONT)
            connection.sendall(WHOLE[10:])
            status, _ = answer(connection)
            assert status == 503
        assert old.ask("GET", f"{place}/content")[2] == new.ask("GET", f"{place}/content")[2] == WHOLE
        awake = True
    assert awake, "a life ended before its time"


SERVERS = [
    pytest.param(["receive", "--port", "0", "--folder"], id="receive"),
    pytest.param(["app", "--port", "0", "--shared"], id="app"),
]


@pytest.mark.parametrize("command", SERVERS)
def test_who_is_told_to_stop_does_not_wait_for_uploads_that_can_go_on_elsewhere(
    tmp_path: Path, command: list[str]
) -> None:
    """Their clients neither send more, nor hang up: what ends is the server."""
    server = subprocess.Popen(
        [sys.executable, "-m", "changeover", *command, str(tmp_path)], stderr=subprocess.PIPE, text=True
    )
    assert server.stderr is not None
    try:
        found = re.search(r"127\.0\.0\.1:(\d+)", server.stderr.readline())
        assert found is not None
        port = int(found[1])
        with contextlib.ExitStack() as clients:
            connections = []
            for _ in range(5):
                with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as one:
                    one.request("POST", "/files/", headers={"Upload-Complete": "?0"})
                    place = one.getresponse().headers["location"]
                connections.append(clients.enter_context(under_way(port, place, WHOLE[:10])))
            server.terminate()
            assert server.wait(PATIENCE) == 0
            for connection in connections:
                status, headers = answer(connection)
                assert (status, headers["upload-complete"]) == (503, "?0")
                assert int(headers["upload-offset"]) <= 10
    finally:
        server.kill()
        server.wait()
        server.stderr.close()
