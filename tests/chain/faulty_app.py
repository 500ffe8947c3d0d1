"""The example application, in which every 25th `GET /hello` is answered with 500: what a guard must notice."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

from changeover.hops.app import server

right = vars(server)["endpoints"]


def faulty(*args: Any, **more: Any) -> Any:
    app, number = right(*args, **more), itertools.count(1)

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/hello" and next(number) % 25 == 0:
            await send({"type": "http.response.start", "status": 500, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
        else:
            await app(scope, receive, send)

    return answer


if __name__ == "__main__":
    vars(server)["endpoints"] = faulty
    port, name, version, shared, lame_duck = sys.argv[1:]
    server.run(server.AppConfig("127.0.0.1", int(port), name, version, Path(shared), Path(lame_duck)))
