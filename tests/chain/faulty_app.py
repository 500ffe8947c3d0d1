"""The example application with one fault, which a guard must notice: `every=50` answers every 50th GET of a client with
500, exactly 2 %; `late=0.03` answers each of them 30 ms late."""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path
from typing import Any

from changeover.example_app import server
from changeover.example_app.config import AppConfig

right = vars(server)["endpoints"]
CLIENTS = ("/hello", "/blob")
"""What clients ask for. Readiness, counts and uploads stay as they are."""


def main(fault: str, port: str, name: str, version: str, shared: str, lame_duck: str) -> None:
    kind, _, amount = fault.partition("=")

    def faulty(*args: Any, **more: Any) -> Any:
        app, number = right(*args, **more), itertools.count(1)

        async def answer(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and scope["path"].startswith(CLIENTS):
                if kind == "late":
                    await asyncio.sleep(float(amount))
                elif next(number) % int(amount) == 0:
                    await send({"type": "http.response.start", "status": 500, "headers": [(b"content-length", b"0")]})
                    await send({"type": "http.response.body", "body": b""})
                    return
            await app(scope, receive, send)

        return answer

    vars(server)["endpoints"] = faulty
    server.run(AppConfig("127.0.0.1", int(port), name, version, Path(shared), Path(lame_duck)))


if __name__ == "__main__":
    main(*sys.argv[1:])
