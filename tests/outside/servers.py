"""Servers that stand behind routers of an operator, and the tier that they are."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from changeover.model.chain import Tier
from changeover.model.instance import Address, Instance


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Behind)
        body = server.instance.name.encode()
        ready = server.ready or self.path != "/readyz"
        self.send_response(200 if ready else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Behind(ThreadingHTTPServer):
    """A server that an instance stands for."""

    daemon_threads = True

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        at = Address("127.0.0.1", self.server_address[1])
        self.instance = Instance(name, "web", "v1", at, at)
        self.ready = True
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def end(self) -> None:
        self.shutdown()
        self.server_close()


@contextmanager
def behind(*names: str) -> Iterator[list[Behind]]:
    servers = [Behind(name) for name in names]
    try:
        yield servers
    finally:
        for server in servers:
            server.end()


def tier(affinity: Any = "none", **more: Any) -> Tier:
    given = {
        "name": "web",
        "kind": "app",
        "size": 2,
        "templates": {"v1": {}, "v2": {}},
        "health": {"interval": "50ms", "rise": 1, "fall": 2},
        "affinity": affinity,
    }
    return Tier.model_validate({**given, **more})
