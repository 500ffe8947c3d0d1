"""A server that starts badly, as its words say: `python faulty_start.py PORT WAY`.

`fine` serves; `unready` answers its readiness with 503 and a password of its environment; `silent` accepts connections
and answers nothing; `deaf` never listens; `workers` starts a server and ends; `lying` is ready and answers every other
request with 502; `slow` needs 30 ms for it.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, WAY = int(sys.argv[1]), sys.argv[2]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        asked = self.path == "/healthz"
        if WAY == "slow" and not asked:
            time.sleep(0.03)
        status = 503 if asked and WAY == "unready" else 502 if not asked and WAY == "lying" else 200
        body = f"{WAY}: no database at {os.environ.get('DB', 'none')}".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


print("connecting to", os.environ.get("DB"), flush=True)
if WAY == "silent":
    with socket.create_server(("127.0.0.1", PORT)):
        time.sleep(600)
elif WAY == "deaf":
    time.sleep(600)
elif WAY == "workers" and os.fork():
    os._exit(0)
ThreadingHTTPServer.daemon_threads = True
ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
