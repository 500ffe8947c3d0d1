"""Processes of the example application, and clients for them."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

PROGRAM = """
import resource, sys
from pathlib import Path
from changeover.example_app.config import AppConfig
from changeover.example_app.server import run
instance, shared, lame_duck, largest_file = sys.argv[1:]
if largest_file:  # the kernel then refuses to write more to a file, which is how a full disk looks from here
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest_file), int(largest_file)))
run(AppConfig("127.0.0.1", 0, instance, "v1", Path(shared), Path(lame_duck)))
"""


class App:
    """One running instance and a client for it."""

    def __init__(self, process: subprocess.Popen[str], shared: Path, lame_duck_file: Path) -> None:
        assert process.stderr is not None
        self.started = process.stderr.readline()
        match = re.search(r"listening on (\S+):(\d+)$", self.started)
        assert match, self.started + process.stderr.read()
        self.process = process
        self.address = (match[1], int(match[2]))
        self.shared = shared
        self.lame_duck_file = lame_duck_file
        self.client = httpx.Client(base_url=f"http://{match[1]}:{match[2]}", trust_env=False, timeout=40)

    def get(self, path: str) -> httpx.Response:
        return self.client.get(path)

    def post(self, body: bytes, **headers: str) -> httpx.Response:
        return self.client.post("/upload", content=body, headers=headers)

    def inflight(self) -> dict[str, Any]:
        with Raw(self) as control:  # the client's pool would lend a connection that has carried other requests
            answer: dict[str, Any] = json.loads(control.ask("/inflight")[2])
            return answer

    def files(self) -> list[str]:
        """Everything in the shared folder, by the name of the folder it lies in."""
        return sorted(path.parent.name for path in self.shared.rglob("*") if path.is_file())


class Raw:
    """A connection written to byte by byte."""

    def __init__(self, app: App) -> None:
        self.socket = socket.create_connection(app.address, timeout=40)

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, text: bytes) -> None:
        self.socket.sendall(text)

    def answer(self, method: str = "GET") -> tuple[int, http.client.HTTPMessage, bytes]:
        with http.client.HTTPResponse(self.socket, method=method) as response:
            response.begin()
            return response.status, response.headers, response.read()

    def ask(self, path: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        self.send(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
        return self.answer()

    def begin_upload(self, size: int, body: bytes) -> None:
        self.send(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + body)


@contextmanager
def running(folder: Path, instance: str = "runtime-1", largest_file: int | None = None) -> Iterator[App]:
    lame_duck_file = folder / f"{instance}.lame-duck"
    limit = "" if largest_file is None else str(largest_file)
    argv = [sys.executable, "-c", PROGRAM, instance, str(folder / "shared"), str(lame_duck_file), limit]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        try:
            app = App(process, folder / "shared", lame_duck_file)
            with app.client:
                yield app
        finally:
            process.kill()


def until(done: Callable[[], bool]) -> None:
    """Wait for something another process does. The deadline is for a broken one."""
    deadline = time.monotonic() + 40
    while not done():
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.02)


def assert_problem(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


def memory(app: App, field: str) -> int:
    text = Path(f"/proc/{app.process.pid}/status").read_text(encoding="utf-8")
    return int(re.findall(rf"{field}:\s+(\d+) kB", text)[0]) * 1024


def refuses(app: App) -> bool:
    try:
        socket.create_connection(app.address, timeout=40).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was queued on the listener as that closed
        return False
    return False
