"""The library under a server of its own process, for tests that end the process: its folder is `CUT_SHORT_FOLDER`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Mount

from changeover.uploads import CompletedUpload, FileStore, Response, Uploads


async def on_complete(upload: CompletedUpload) -> Response:
    return Response(200, (), (await upload.digest()).encode())


uploads = Uploads(FileStore(Path(os.environ["CUT_SHORT_FOLDER"])), on_complete)


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    async with uploads.running():
        yield


app = Starlette(routes=[Mount("/files", uploads)], lifespan=lifespan)
