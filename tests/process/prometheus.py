"""A server with the part of Prometheus' HTTP API that guards use."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

PrometheusReply = tuple[int, str]


class FakePrometheus:
    """Listens on its own port, replies to queries with `reply`, and records them in `queries`."""

    def __init__(self) -> None:
        self.queries: list[dict[str, str]] = []
        self.headers: list[str | None] = []
        self.reply: Callable[[str], PrometheusReply] = lambda _: number("0")
        self.hold = threading.Event()
        self.hold.set()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                fake.queries.append({name: values[0] for name, values in parse_qs(body).items()})
                fake.headers.append(self.headers["Authorization"])
                fake.hold.wait()
                status, text = fake.reply(fake.queries[-1]["query"]) if self.path == "/api/v1/query" else (404, "")
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def prometheus_server() -> Iterator[FakePrometheus]:
    fake = FakePrometheus()
    try:
        yield fake
    finally:
        fake.close()


def success(result: object, kind: str = "vector", **more: object) -> PrometheusReply:
    return 200, json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more})


def number(*values: str) -> PrometheusReply:
    return success([{"metric": {"i": str(place)}, "value": [1000.5, value]} for place, value in enumerate(values)])
