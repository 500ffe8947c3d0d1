"""A server that answers well, and ends as its words say: `python dying_server.py PORT LAME_DUCK [WAY]`.

`at:N` dies at its Nth GET of `/`, without an answer, `stubborn` does not end on its stop signal. No server is
ready while a file `unready` is beside the script.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT, LAME_DUCK, WAY = int(sys.argv[1]), Path(sys.argv[2]), (sys.argv[3] if len(sys.argv) > 3 else "")
KIND, _, NUMBER = WAY.partition(":")
UNREADY = Path(__file__).with_name("unready")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    requests = 0

    def do_GET(self) -> None:
        if self.path == "/readyz":
            ready = not LAME_DUCK.exists() and not UNREADY.exists()
            self.answer(200 if ready else 503, "")
        elif self.path == "/inflight":
            self.answer(200, json.dumps({"requests": 0, "connections": 0, "uploads": []}))
        else:
            Handler.requests += 1
            if KIND == "at" and Handler.requests >= int(NUMBER):
                os._exit(7)
            self.answer(200, f"{WAY} {os.getpid()}")

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(text.encode())
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None: ...


if KIND == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
ThreadingHTTPServer.daemon_threads = True
ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
