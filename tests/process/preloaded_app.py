"""An application that a server loads before it forks its workers. `PRELOADED_FOLDER` is the folder of the test.

`/pid` responds with the worker's process. The handler leaves a line in `handled` for each call, and returns when there
is a file `go_on`. Each read of a record leaves a line in `read`.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from changeover.uploads import CompletedUpload, FileStore, RecordVersion, Response, Uploads

FOLDER = Path(os.environ["PRELOADED_FOLDER"])


def note(name: str) -> None:
    with (FOLDER / name).open("a") as lines:
        lines.write(f"{os.getpid()}\n")


class NotedStore(FileStore):
    async def read(self, id: str) -> tuple[bytes, RecordVersion]:
        found = await super().read(id)
        note("read")
        return found


async def on_complete(_: CompletedUpload) -> Response:
    note("handled")
    while not (FOLDER / "go_on").exists():
        await asyncio.sleep(0.01)
    return Response(200, (), b"thanks")


async def pid(_: Request) -> PlainTextResponse:
    return PlainTextResponse(str(os.getpid()))


uploads = Uploads(NotedStore(FOLDER / "uploads"), on_complete)
app = Starlette(routes=[Route("/pid", pid), Mount("/files", uploads)])
