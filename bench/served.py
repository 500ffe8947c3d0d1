"""The applications that bench/uploads.py serves: `ours` and `tuspy`, with the folder from the environment.

The handler does nothing with a completed upload, because the other servers do nothing either.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from tuspyserver import create_tus_router

from changeover.uploads import CompletedUpload, FileStore, Response, Uploads

FOLDER = Path(os.environ["FOLDER"])


async def on_complete(upload: CompletedUpload) -> Response:
    return Response(201)


def ours() -> Starlette:
    uploads = Uploads(FileStore(FOLDER, durable="DURABLE" in os.environ), on_complete)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with uploads.running():
            yield

    return Starlette(routes=[Mount("/files", uploads)], lifespan=lifespan)


def tuspy() -> FastAPI:
    app = FastAPI()
    app.include_router(create_tus_router(files_dir=str(FOLDER)))
    return app
