"""Workers that a server forks after it has loaded the application: each process holds uploads by a name of its own."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("gunicorn", reason="gunicorn is not installed; make setup installs it")
PATIENCE = 40.0
APPEND = {"Upload-Offset": "0", "Upload-Complete": "?1", "Content-Type": "application/partial-upload"}


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ask(connection: http.client.HTTPConnection, *request: object) -> http.client.HTTPResponse:
    connection.request(*request)  # type: ignore[arg-type]
    return connection.getresponse()


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    command = ["gunicorn", "--preload", "-w", "2", "-k", "asgi", "-b", "127.0.0.1:0", "tests.process.preloaded_app:app"]
    server = subprocess.Popen(
        [sys.executable, "-m", *command],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PRELOADED_FOLDER": str(tmp_path)},
        cwd=Path(__file__).parents[2],
    )
    assert server.stderr is not None
    try:
        found = None
        while found is None:
            line = server.stderr.readline()
            assert line, "the server does not start"
            found = re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", line)
        yield int(found[1])
    finally:
        (tmp_path / "go_on").touch()
        server.terminate()
        try:
            server.communicate(timeout=PATIENCE)
        finally:
            server.kill()
            server.wait()


def test_two_workers_that_were_forked_after_loading_do_not_call_the_handler_at_once(tmp_path: Path, port: int) -> None:
    with contextlib.ExitStack() as clients:

        def connect() -> http.client.HTTPConnection:
            return clients.enter_context(
                contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE))
            )

        workers: dict[str, http.client.HTTPConnection] = {}

        def both_found() -> bool:
            connection = connect()
            workers[ask(connection, "GET", "/pid").read().decode()] = connection
            return len(workers) == 2

        wait_for(both_found)
        (_, first), (second_pid, second) = workers.items()
        created = ask(first, "POST", "/files/", b"", {"Upload-Complete": "?0"})
        created.read()
        place = created.headers["location"]
        first.request("PATCH", place, b"hello", APPEND)
        wait_for(lambda: lines(tmp_path / "handled"))
        again = threading.Thread(
            target=lambda: ask(second, "PATCH", place, b"", {**APPEND, "Upload-Offset": "5"}).read()
        )
        again.start()
        wait_for(lambda: lines(tmp_path / "read").count(second_pid) > 3)  # it looks again and again
        assert len(lines(tmp_path / "handled")) == 1
        (tmp_path / "go_on").touch()
        assert first.getresponse().read() == b"thanks"
        again.join(PATIENCE)
        assert len(lines(tmp_path / "handled")) == 1
