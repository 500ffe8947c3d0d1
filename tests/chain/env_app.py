"""An application of a user's own: it answers with what it finds in its environment. Arguments: port, version.

`daemon` as the third argument: it leaves its session and its parent before it listens.
"""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT, VERSION, *MORE = sys.argv[1:]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        about = {"env": dict(os.environ), "cwd": str(Path.cwd()), "pid": os.getpid(), "version": VERSION}
        in_flight = {"requests": 0, "connections": 0, "uploads": []}
        body = json.dumps(in_flight if self.path == "/inflight" else about).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


if MORE == ["daemon"]:
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
ThreadingHTTPServer(("127.0.0.1", int(PORT)), Handler).serve_forever()
