"""Requests that never end although the last byte has arrived, at every server: the handler is called for the upload."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from changeover.uploads import CompletedUpload, FileStore, Response
from changeover.uploads.core.engine import Engine
from changeover.uploads.core.manifest import Manifest, UploadState

PATIENCE = 40.0
TUS = {"Tus-Resumable": "1.0.0"}
SERVERS = ["receive", "h11", "httptools"]


class Server:
    """One process over the folder, at a free port."""

    def __init__(self, kind: str, folder: Path) -> None:
        app = "tests.process.cut_short_app:app"
        command = {
            "receive": ["changeover", "receive", "--port", "0", "--folder", str(folder)],
            "h11": ["uvicorn", app, "--port", "0", "--http", "h11"],
            "httptools": ["uvicorn", app, "--port", "0", "--http", "httptools"],
        }[kind]
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "CUT_SHORT_FOLDER": str(folder)},
            cwd=Path(__file__).parents[2],
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := re.search(r"127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                return
        raise AssertionError("the server does not start")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def ask(self, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as connection:
            connection.request(method, path, headers=named)
            got = connection.getresponse()
            return got.status, {name.lower(): value for name, value in got.getheaders()}, got.read()

    def begin(self, method: str, path: str, headers: dict[str, str]) -> socket.socket:
        """A request with one chunk and no last one. The kernel resets the connection when it is closed."""
        connection = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        lines = [f"{method} {path} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n5\r\nhello\r\n")
        return connection


def reset(_: Server, connections: list[socket.socket]) -> None:
    for connection in connections:
        connection.close()


def half_close(_: Server, connections: list[socket.socket]) -> None:
    for connection in connections:
        connection.shutdown(socket.SHUT_WR)


def killed(server: Server, _: list[socket.socket]) -> None:
    server.process.kill()
    server.process.wait()


def terminated(server: Server, connections: list[socket.socket]) -> None:
    server.process.terminate()
    reset(server, connections)  # uvicorn waits for its connections
    server.process.wait(PATIENCE)


def silence(_: Server, connections: list[socket.socket]) -> None:
    """The clients send nothing more, and stay connected."""


async def never(_: CompletedUpload) -> Response:
    raise AssertionError


def found(folder: Path, id: str) -> Manifest:
    return asyncio.run(Engine(FileStore(folder, durable=False), never).find(id, ""))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextlib.contextmanager
def serving(kind: str, folder: Path) -> Iterator[Server]:
    with contextlib.closing(Server(kind, folder)) as server:
        yield server


@pytest.mark.parametrize("end", [reset, half_close, killed, terminated, silence], ids=lambda it: it.__name__)
@pytest.mark.parametrize("kind", SERVERS)
def test_an_upload_with_its_last_byte_gets_to_the_handler(
    tmp_path: Path, kind: str, end: Callable[[Server, list[socket.socket]], None]
) -> None:
    with serving(kind, tmp_path) as server, contextlib.ExitStack() as clients:
        places = {
            "tus": server.ask("POST", "/files/", **TUS, Upload_Length="5")[1]["location"],
            "range": server.ask("POST", "/files/?uploadType=resumable")[1]["location"],
        }
        ids = [place.rpartition("/")[2] for place in places.values()]
        places = {name: f"/files/{id}" for name, id in zip(places, ids, strict=True)}
        append = {**TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
        connections = [
            clients.enter_context(server.begin("PATCH", places["tus"], append)),
            clients.enter_context(server.begin("PUT", places["range"], {"Content-Range": "bytes 0-4/5"})),
        ]
        for id in ids:
            wait_for(lambda id=id: found(tmp_path, id).offset == 5)  # type: ignore[misc]
        end(server, connections)
        with contextlib.ExitStack() as lives:
            if server.process.poll() is not None:
                server = lives.enter_context(serving(kind, tmp_path))
            status, headers, _ = server.ask("HEAD", places["tus"], **TUS)
            assert (status, headers["upload-offset"], headers["upload-length"]) == (200, "5", "5")
            status, _, body = server.ask("PUT", places["range"], Content_Range="bytes */*", Content_Length="0")
            assert status in (200, 201)
            assert body
            for id in ids:
                upload = found(tmp_path, id)
                assert (upload.state, upload.attempts) == (UploadState.DONE, 1)
