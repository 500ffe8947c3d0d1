"""The servers that docs/uploads.md names, each as a process that serves the library: `app` below, or `receive`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from changeover.kit.sockets import free_port
from changeover.uploads import CompletedUpload, FileStore, Forbidden, Response, Uploads

PATIENCE = 40.0
ROOT = Path(__file__).parents[2]
APP = "tests.process.asgi_servers:app"
COMMANDS = {
    "uvicorn with h11": ("uvicorn", APP, "--http", "h11", "--port", "{port}"),
    "uvicorn with httptools": ("uvicorn", APP, "--http", "httptools", "--port", "{port}"),
    "granian": ("granian", "--interface", "asgi", APP, "--port", "{port}"),
    "hypercorn": ("hypercorn", APP, "--bind", "127.0.0.1:{port}"),
    "gunicorn with uvicorn's worker": (
        *("gunicorn", APP, "-k", "uvicorn_worker.UvicornWorker"),
        *("--bind", "127.0.0.1:{port}", "--no-control-socket"),
    ),
    "gunicorn with its asgi worker": (
        *("gunicorn", APP, "-k", "asgi", "--bind", "127.0.0.1:{port}", "--no-control-socket"),
    ),
    "changeover receive": ("changeover", "receive", "--port", "{port}", "--folder", "{folder}"),
}


def authorise(scope: Scope) -> str:
    """The owner, as the example of docs/uploads.md takes it from a proxy's field."""
    user: str = dict(scope["headers"]).get(b"x-user", b"").decode()
    if not user:
        raise Forbidden("log in first")
    return user


async def on_complete(upload: CompletedUpload) -> Response:
    found = {"size": upload.size, "owner": upload.owner, "headers": {**upload.headers}, "metadata": {**upload.metadata}}
    return Response(201, (), json.dumps(found).encode())


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Made in the process that serves, at its first scope."""
    global _app
    if _app is None:
        uploads = Uploads(FileStore(Path(os.environ["UPLOADS"]), durable=False), on_complete, authorise=authorise)
        _app = Starlette(routes=[Mount("/files", uploads)])
    await _app(scope, receive, send)


_app: Starlette | None = None


@dataclass(frozen=True)
class Serving:
    """A server and its workers, which are a session of processes."""

    port: int
    pid: int

    def descriptors(self) -> int:
        """Open sockets and files of all its processes."""
        count = 0
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # a process that ended meanwhile
                if os.getsid(int(process.name)) == self.pid:
                    count += len([*(process / "fd").iterdir()])
        return count


@contextmanager
def serving(name: str, folder: Path) -> Iterator[Serving]:
    """It serves when the block begins, and is stopped at its end."""
    port = free_port("127.0.0.1")
    words = [word.format(port=port, folder=folder) for word in COMMANDS[name]]
    environment = {**os.environ, "UPLOADS": str(folder)}
    with (folder.with_suffix(".log")).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *words], cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert process.poll() is None, folder.with_suffix(".log").read_text()
                assert time.monotonic() < until
                time.sleep(0.05)
        yield Serving(port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # its workers, too
                process.wait()
