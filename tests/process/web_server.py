"""A web server for hooks and notifications to ask: what it does is up to the first part of the path."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    path: str
    headers: dict[str, str]
    body: Any


class WebServer(ThreadingHTTPServer):
    """Paths: /NUMBER/… answers that status and repeats the path; /never, /drip, /endless, /garbage, /move."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[Asked] = []
        self.came = threading.Event()
        self.let_go = threading.Event()
        """Set: whoever is kept waiting is answered."""

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: WebServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(Asked(self.path, dict(self.headers), json.loads(body)))
        self.server.came.set()
        what = self.path.split("/")[1]
        with contextlib.suppress(OSError):  # nobody waited for it
            getattr(self, f"_{what}", self._status)()

    def _status(self) -> None:
        said = f"no route for {self.path}\n".encode()
        self.send_response(int(self.path.split("/")[1]))
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def _never(self) -> None:
        self.server.let_go.wait()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _drip(self) -> None:
        """A head that never ends, but never pauses for long either."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not self.server.let_go.wait(0.02):
            self.wfile.write(b"x")

    def _endless(self) -> None:
        self.wfile.write(b"HTTP/1.1 503 No\r\n\r\n")
        while not self.server.let_go.is_set():
            self.wfile.write(self.path.encode() * 100)

    def _garbage(self) -> None:
        self.wfile.write(b"this is no HTTP\r\n\r\n")

    def _move(self) -> None:
        self.send_response(307)
        self.send_header("Location", self.path.replace("/move/", "/200/"))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def web_server() -> Iterator[WebServer]:
    with WebServer() as server:
        server.daemon_threads = False
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.let_go.set()
            server.shutdown()
            thread.join()


@contextmanager
def refusing() -> Iterator[str]:
    """An address that refuses connections, and is nobody else's meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"
