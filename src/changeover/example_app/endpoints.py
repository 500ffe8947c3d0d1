"""The responses of the example application.

Refuses to hold a body in memory, to wait for a disk on the event loop, and to report a failure in anything but a
problem document (RFC 9457).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from changeover import uploads
from changeover.example_app.catalog import Catalog, UploadRecord, is_ref
from changeover.example_app.in_flight import FILES, UPLOAD, Board
from changeover.kit.pattern import pattern
from changeover.uploads import CompletedUpload, FileStore, Uploads

MAX_BLOB = 10_000_000_000
"""Bytes that one GET may ask for: more than any real response has, and a limit for typing errors."""

_CHUNK = 64 * 1024
"""Bytes of a blob handed to the transport at once. That fills its buffer; more would only wait in memory."""

REF = "x-upload-ref"
"""The client's own name for an upload, by which it finds the upload again."""


def library(version: str, instance: str, catalog: Catalog, shared: Path) -> Uploads:
    """The uploads below FILES and at UPLOAD, which any instance can continue. Raises OSError."""

    async def on_complete(upload: CompletedUpload) -> uploads.Response:
        sha256 = await upload.digest()
        if upload.target == UPLOAD:
            return await _enter(
                catalog,
                UploadRecord(
                    id=upload.id,
                    bytes=upload.size,
                    sha256=sha256,
                    ref=upload.headers.get(REF),
                    version=version,
                    instance=instance,
                ),
            )
        content = {
            "id": upload.id,
            "bytes": upload.size,
            "sha256": sha256,
            "metadata": dict(upload.metadata),
            "attempt": upload.attempt,
            "version": version,
            "instance": instance,
        }
        return uploads.Response(201, (("Content-Type", "application/json"),), json.dumps(content).encode())

    return Uploads(FileStore(shared / "files"), on_complete, base_path=FILES, keep_headers=(REF,))


async def _enter(catalog: Catalog, record: UploadRecord) -> uploads.Response:
    """Enter an upload in the catalog. A second call for the same upload returns the response of the first."""
    await asyncio.to_thread(catalog.add, record)
    entry = await asyncio.to_thread(catalog.record, record["id"])
    headers = (("Content-Type", "application/json"), ("Location", f"{UPLOAD}/{record['id']}"))
    return uploads.Response(201, headers, json.dumps(entry).encode())


def endpoints(
    version: str, instance: str, lame_duck_file: Path, catalog: Catalog, board: Board, files: Uploads
) -> Starlette:
    """The application of one instance."""
    own = _Endpoints(version, instance, lame_duck_file, catalog, board, files)
    app = Starlette(
        routes=[
            Route("/hello", own.hello),
            Route("/blob/{size}", own.blob),
            Route(UPLOAD, own.take_upload, methods=["POST"]),
            Route(UPLOAD + "/{id}", own.upload),
            Route(UPLOAD + "/{id}/content", own.content),
            Route("/uploads", own.uploads),
            files.mount(FILES),
            Route("/livez", own.livez),
            Route("/readyz", own.readyz),
            Route("/inflight", own.inflight),
        ],
        exception_handlers={HTTPException: _http_error, Exception: _failure},
    )
    app.router.redirect_slashes = False  # `/hello/` is an unknown path like any other
    return app


class _Endpoints:
    def __init__(
        self,
        version: str,
        instance: str,
        lame_duck_file: Path,
        catalog: Catalog,
        board: Board,
        files: Uploads,
    ) -> None:
        self._me = {"version": version, "instance": instance}
        self._lame_duck_file = lame_duck_file
        self._catalog = catalog
        self._board = board
        self._files = files

    async def hello(self, _: Request) -> Response:
        return JSONResponse(self._me)

    async def blob(self, request: Request) -> Response:
        text: str = request.path_params["size"]
        if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= MAX_BLOB):
            raise HTTPException(400, f"the size must be a number of bytes from 0 to {MAX_BLOB}")
        headers = {"content-length": text.lstrip("0") or "0", "content-type": "application/octet-stream"}
        if request.method == "HEAD":
            return Response(headers=headers)
        return StreamingResponse(_blob(int(text)), headers=headers)

    async def take_upload(self, request: Request) -> Response:
        ref = request.headers.get(REF)
        if ref is not None and not is_ref(ref):
            raise HTTPException(400, "X-Upload-Ref must have 1 to 64 letters, digits, _ or -")
        return _LibraryResponse(self._files)

    async def upload(self, request: Request) -> Response:
        record = await asyncio.to_thread(self._catalog.record, request.path_params["id"])
        if record is None:
            raise HTTPException(404, "no upload has this id")
        return JSONResponse({**record, "served_by": self._me})

    async def content(self, _: Request) -> Response:
        return _LibraryResponse(self._files)

    async def uploads(self, request: Request) -> Response:
        ref = request.query_params.get("ref", "")
        if not is_ref(ref):
            raise HTTPException(400, "?ref= must have 1 to 64 letters, digits, _ or -")
        return JSONResponse({"ref": ref, "ids": await asyncio.to_thread(self._catalog.ids, ref)})

    async def livez(self, _: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(self, _: Request) -> Response:
        if self._lame_duck_file.exists():
            return JSONResponse({"status": "draining"}, 503)
        return JSONResponse({"status": "ready"})

    async def inflight(self, _: Request) -> Response:
        return JSONResponse(self._board.report())


async def _blob(size: int) -> AsyncIterator[bytes]:
    for offset in range(0, size, _CHUNK):
        yield pattern(offset, min(_CHUNK, size - offset))
        # A client as fast as this loop never fills the transport, so that `send` never waits. Without this line one
        # large blob would delay a health check by seconds.
        await asyncio.sleep(0)


class _LibraryResponse(Response):
    """The uploads library's response to a request below UPLOAD instead of FILES."""

    def __init__(self, files: Uploads) -> None:
        super().__init__()
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._files({**scope, "root_path": UPLOAD}, receive, send)


class _ProblemResponse(JSONResponse):
    media_type = "application/problem+json"

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        title = HTTPStatus(status).phrase
        super().__init__({"title": title, "status": status, "detail": detail}, status, headers)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # registered for nothing else
    detail = f"{request.method} {request.url.path}: {error.detail}"
    return _ProblemResponse(error.status_code, detail, dict(error.headers or {}))


def _failure(_request: Request, _error: Exception) -> Response:
    return _ProblemResponse(500, "the application failed; its log (stderr) has the traceback")
