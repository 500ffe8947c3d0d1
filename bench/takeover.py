"""How long an append in flight delays the continuation of its upload, and the exit of a process.

A client requests the offset of an upload while an append to it is in flight: at the same process, at a process that
shares the folder, and at a process that shares a bucket (moto's server on this machine). The control is the same
request without an append in flight. Then the client appends from that offset. The second part measures the seconds
from SIGTERM to the exit of a process while clients slowly send uploads. The rounds are interleaved; all appends are
durable.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

from rich.console import Console
from rich.table import Table
from shared import write_results

from changeover.kit import sockets

ROUNDS = 50
ENDS = 10
"""Exits of a process."""
AT_ONCE = 20
"""Uploads in flight at an exit."""
WHOLE = os.urandom(200_000)
PARTIAL = "application/partial-upload"
REPOSITORY = Path(__file__).parents[1]
Seconds = dict[str, list[float]]


# -- servers -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def process(*words: str, stderr: int) -> Iterator[subprocess.Popen[str]]:
    one = subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=stderr, text=True)
    try:
        yield one
    finally:
        one.kill()
        one.communicate()


@contextlib.contextmanager
def serving(*words: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """One of this program's upload servers, and its port."""
    with process(sys.executable, "-m", "changeover", *words, stderr=subprocess.PIPE) as one:
        assert one.stderr is not None
        address = re.search(r"127\.0\.0\.1:(\d+)", one.stderr.readline())
        assert address is not None, "the server did not start"
        yield one, int(address[1])


@contextlib.contextmanager
def on_bucket(url: str) -> Iterator[int]:
    """The server of the crash tests with a bucket, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        words = [sys.executable, "-m", "tests.process.uploads_server", f"s3+{url}", str(listening.fileno())]
        os.set_inheritable(listening.fileno(), True)
        one = subprocess.Popen(
            words, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, close_fds=False
        )
        try:
            assert one.stdin is not None
            assert one.stdout is not None
            print("never 0", file=one.stdin, flush=True)
            pid = int(one.stdout.readline())
            try:
                yield listening.getsockname()[1]
            finally:
                os.kill(pid, signal.SIGKILL)
        finally:
            one.communicate()


@contextlib.contextmanager
def bucket() -> Iterator[str]:
    port = sockets.free_port("127.0.0.1")
    url = f"http://127.0.0.1:{port}"
    with process(str(Path(sys.executable).with_name("moto_server")), "-p", str(port), stderr=subprocess.DEVNULL):
        make = urllib.request.Request(f"{url}/uploads", method="PUT")
        for _ in range(400):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(make).close()
                break
            time.sleep(0.05)
        yield url


# -- a client ----------------------------------------------------------------------------------------------------------


def ask(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str]]:
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        got = connection.getresponse()
        got.read()
        return got.status, {name.lower(): value for name, value in got.getheaders()}


@contextlib.contextmanager
def half_sent(port: int, place: str) -> Iterator[socket.socket]:
    """An append that is half sent, after the server has accepted it."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(
            f"PATCH {place} HTTP/1.1\r\nHost: bench\r\nContent-Type: {PARTIAL}\r\nContent-Length: {len(WHOLE)}\r\n"
            "Upload-Offset: 0\r\nUpload-Complete: ?1\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        interim = connection.recv(1000)
        assert b" 100 " in interim, interim
        connection.sendall(WHOLE[: len(WHOLE) // 2])
        yield connection


def begun(port: int, root: str) -> str:
    return ask(port, "POST", root, upload_complete="?0")[1]["location"]


def take_over(old: int, new: int, root: str, seen: Seconds) -> None:
    """One round: create the upload at one port, continue it at the other."""
    place = begun(old, root)
    started = time.perf_counter()
    ask(new, "HEAD", place)
    seen["offset, no append"].append(time.perf_counter() - started)
    with half_sent(old, place) as connection:
        started = time.perf_counter()
        status, headers = ask(new, "HEAD", place)
        seen["offset, taken over"].append(time.perf_counter() - started)
        assert status == 204, status
        offset = int(headers["upload-offset"])
        headers_sent = {"upload_offset": str(offset), "upload_complete": "?1", "content_type": PARTIAL}
        started = time.perf_counter()
        status, headers = ask(new, "PATCH", place, WHOLE[offset:], **headers_sent)
        seen["append from there"].append(time.perf_counter() - started)
        assert status < 300, status
        with contextlib.suppress(OSError):
            connection.sendall(WHOLE[len(WHOLE) // 2 :])
        got = HTTPResponse(connection, method="PATCH")
        with contextlib.suppress(OSError):
            got.begin()
            assert got.status == 503, got.status


def end(command: str, folder: Path) -> float:
    """Seconds from SIGTERM to the exit."""
    option = {"receive": "--folder", "app": "--shared"}[command]
    with (
        serving(command, "--port", "0", option, str(folder)) as (server, port),
        contextlib.ExitStack() as clients,
        selectors.DefaultSelector() as ready,
    ):
        connections = [clients.enter_context(half_sent(port, begun(port, "/files/"))) for _ in range(AT_ONCE)]
        for connection in connections:
            ready.register(connection, selectors.EVENT_READ)
        server.terminate()
        started = time.perf_counter()
        while server.poll() is None:
            with contextlib.suppress(OSError):
                for connection in connections:
                    connection.send(b"x")
            time.sleep(0.005)
        return time.perf_counter() - started


# -- all of it ---------------------------------------------------------------------------------------------------------


def main() -> None:
    console = Console()
    folder = Path(tempfile.mkdtemp(prefix="changeover-bench-"))
    seen: dict[str, Seconds] = {}
    ends: Seconds = {}
    words = ("receive", "--port", "0", "--folder", str(folder / "uploads"))
    try:
        with (
            serving(*words) as (_, one),
            serving(*words) as (_, other),
            bucket() as url,
            on_bucket(url) as first,
            on_bucket(url) as second,
        ):
            places = {
                "one process": (one, one, "/files/"),
                "two processes, one folder": (one, other, "/files/"),
                "two processes, one bucket": (first, second, "/"),
            }
            for number in range(ROUNDS):
                console.print(f"round {number + 1} of {ROUNDS}", style="dim")
                for name, (old, new, root) in places.items():
                    kinds = ("offset, no append", "offset, taken over", "append from there")
                    take_over(old, new, root, seen.setdefault(name, {kind: [] for kind in kinds}))
        for number in range(ENDS):
            for command in ("receive", "app"):
                console.print(f"end {number + 1} of {ENDS}: {command}", style="dim")
                ends.setdefault(command, []).append(end(command, folder / command))
    finally:
        shutil.rmtree(folder)
    figures = {
        **{f"{name}: {kind}": milliseconds(times) for name, kinds in seen.items() for kind, times in kinds.items()},
        **{f"end of {name}, {AT_ONCE} uploads in flight": milliseconds(times) for name, times in ends.items()},
    }
    table = Table("milliseconds", "median", "p99", "longest")
    for name, row in figures.items():
        table.add_row(name, *(f"{value:.1f}" for value in row.values()))
    console.print(table)
    write_results("takeover", {"rounds": ROUNDS, "ends": ENDS, "milliseconds": figures}, console)


def milliseconds(times: list[float]) -> dict[str, float]:
    ordered = sorted(1000 * one for one in times)
    return {
        "median": round(statistics.median(ordered), 2),
        "p99": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 2),
        "longest": round(ordered[-1], 2),
    }


if __name__ == "__main__":
    main()
