"""A web server that knows nothing of changeover: pages, a redirect, uploads with a digest in a header, files.

`asked` holds every request line that it received. It runs in threads of the test's process, on a free port.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import threading
from collections.abc import Iterator
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ForeignServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.files: dict[str, bytes] = {}
        self.version = "7.1"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ForeignServer

    def do_GET(self) -> None:
        self._note()
        match self.path:
            case "/shop/":
                self._answer(200, f"Welcome to build {self.server.version}".encode())
            case "/old":
                self._answer(302, b"", Location="/shop/")
            case path if path.removeprefix("/files/") in self.server.files:
                self._answer(200, self.server.files[path.removeprefix("/files/")])
            case _:
                self._answer(404, b"no such page")

    def do_POST(self) -> None:
        self._note()
        if self.path == "/deaf":
            self.close_connection = True
            return self._answer(200, b"thank you")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Type"].startswith("multipart/"):
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            _, part = BytesParser().parsebytes(head + body).walk()
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            body = content
        name = str(len(self.server.files))
        self.server.files[name] = body
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        return self._answer(201, b"", Location=f"/files/{name}", Repr_Digest=f"sha-256=:{digest}:")

    do_PUT = do_POST

    def _note(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        self.server.headers.append(dict(self.headers))

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("X-Release", self.server.version)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: the test reads `asked`."""


@contextlib.contextmanager
def foreign_server() -> Iterator[ForeignServer]:
    with ForeignServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
