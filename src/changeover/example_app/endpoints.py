"""What the example application answers.

Refuses to hold a body in memory, to wait for a disk on the event loop, and to answer a failure with anything
but a problem document (RFC 9457).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from changeover import uploads
from changeover.example_app.in_flight import FILES, UPLOAD, Board
from changeover.example_app.uploads_folder import Incoming, UploadsFolder, is_ref
from changeover.kit.pattern import pattern
from changeover.uploads import CompletedUpload, FileStore, Uploads
from changeover.uploads.protocols import ietf

MAX_BLOB = 10_000_000_000
"""Bytes one GET may ask for: more than any real answer, and still a bound on a typing error."""

_CHUNK = 64 * 1024
"""Bytes of a blob handed to the transport at once; that fills its buffer, more would only pile up."""

REF = "x-upload-ref"
"""The client's own name for an upload, by which it finds it again."""

_PIECE = 1024 * 1024
"""Bytes of an upload written at once: few trips to a thread, and a bounded price in memory per upload."""


def library(version: str, instance: str, folder: UploadsFolder, shared: Path) -> Uploads:
    """What answers below FILES: uploads in every dialect, that any instance can continue. Raises OSError."""

    async def on_complete(finished: CompletedUpload) -> uploads.Response:
        if finished.target == UPLOAD:
            return await _stored(folder, finished, version, instance)
        told = {
            "id": finished.id,
            "bytes": finished.size,
            "sha256": await finished.digest(),
            "metadata": dict(finished.metadata),
            "attempt": finished.attempt,
            "version": version,
            "instance": instance,
        }
        return uploads.Response(201, (("Content-Type", "application/json"),), json.dumps(told).encode())

    return Uploads(FileStore(shared / "files"), on_complete, base_path=FILES, keep_headers=(REF,))


async def _stored(folder: UploadsFolder, finished: CompletedUpload, version: str, instance: str) -> uploads.Response:
    """The answer of the plain path, to an upload that came there in pieces. Asked again, it stores nothing again."""
    told = await asyncio.to_thread(folder.record, finished.id)
    if told is None:
        incoming = await asyncio.to_thread(folder.begin, finished.id)
        try:
            async for piece in finished.pieces():
                await asyncio.to_thread(incoming.write, piece)
            record = await asyncio.to_thread(incoming.store, finished.headers.get(REF), version, instance)
        except BaseException:
            await asyncio.to_thread(incoming.discard)
            raise
        told = dict(record)
    headers = (("Content-Type", "application/json"), ("Location", f"{UPLOAD}/{finished.id}"))
    return uploads.Response(201, headers, json.dumps(told).encode())


def endpoints(
    version: str, instance: str, lame_duck_file: Path, folder: UploadsFolder, board: Board, files: Uploads
) -> Starlette:
    """The application of one instance."""
    own = _Endpoints(version, instance, lame_duck_file, folder, board, files)
    app = Starlette(
        routes=[
            Route("/hello", own.hello),
            Route("/blob/{size}", own.blob),
            Route(UPLOAD, own.take_upload, methods=["POST"]),
            Route(UPLOAD + "/{id}", own.upload),
            Route(UPLOAD + "/{id}/content", own.content),
            Route("/uploads", own.uploads),
            Mount(FILES, files),
            Route("/livez", own.livez),
            Route("/readyz", own.readyz),
            Route("/inflight", own.inflight),
        ],
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )
    app.router.redirect_slashes = False  # `/hello/` is an unknown path like any other
    return app


class _Endpoints:
    def __init__(
        self,
        version: str,
        instance: str,
        lame_duck_file: Path,
        folder: UploadsFolder,
        board: Board,
        files: Uploads,
    ) -> None:
        self._me = {"version": version, "instance": instance}
        self._lame_duck_file = lame_duck_file
        self._folder = folder
        self._board = board
        self._files = files

    async def hello(self, _: Request) -> Response:
        return JSONResponse(self._me)

    async def blob(self, request: Request) -> Response:
        text: str = request.path_params["size"]
        if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= MAX_BLOB):
            raise HTTPException(400, f"a number of bytes is needed, from 0 to {MAX_BLOB}")
        headers = {"content-length": text.lstrip("0") or "0", "content-type": "application/octet-stream"}
        if request.method == "HEAD":
            return Response(headers=headers)
        return StreamingResponse(_blob(int(text)), headers=headers)

    async def take_upload(self, request: Request) -> Response:
        ref = request.headers.get(REF)
        if ref is not None and not is_ref(ref):
            raise HTTPException(400, "X-Upload-Ref must be 1 to 64 letters, digits, _ or -")
        if ietf.is_spoken(dict(request.headers)):  # by a client that can resume, or a relay
            return _Begun(self._files)
        incoming: Incoming | None = None
        record = None
        try:
            incoming = await asyncio.to_thread(self._folder.begin)
            async for piece in _pieces(request):
                await asyncio.to_thread(incoming.write, piece)
            record = await asyncio.to_thread(incoming.store, ref, **self._me)
        except ClientDisconnect:
            return Response(status_code=400)  # to nobody: an application has to answer something
        except OSError as error:
            return _Problem(507, f"{error.strerror}; nothing of this upload was stored")
        finally:
            if incoming is not None and record is None:
                await asyncio.to_thread(incoming.discard)
        return JSONResponse(record, 201, {"location": f"{UPLOAD}/{record['id']}"})

    async def upload(self, request: Request) -> Response:
        record = await asyncio.to_thread(self._folder.record, request.path_params["id"])
        if record is None:
            raise HTTPException(404, "no upload has this id")
        return JSONResponse({**record, "served_by": self._me})

    async def content(self, request: Request) -> Response:
        path = await asyncio.to_thread(self._folder.content, request.path_params["id"])
        if path is None:
            raise HTTPException(404, "no upload has this id")
        return FileResponse(path, media_type="application/octet-stream")

    async def uploads(self, request: Request) -> Response:
        ref = request.query_params.get("ref", "")
        if not is_ref(ref):
            raise HTTPException(400, "?ref= is needed: 1 to 64 letters, digits, _ or -")
        return JSONResponse({"ref": ref, "ids": await asyncio.to_thread(self._folder.ids, ref)})

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
        # A client as fast as this loop never fills the transport, so `send` never waits: without a turn for
        # the others, one large blob keeps a health check waiting for seconds.
        await asyncio.sleep(0)


async def _pieces(request: Request) -> AsyncIterator[bytearray]:
    """The request body in pieces of about 1 MiB. Meanwhile uvicorn holds some 64 KiB and lets TCP wait."""
    piece = bytearray()
    async for chunk in request.stream():
        piece += chunk
        if len(piece) >= _PIECE:
            yield piece
            piece = bytearray()
    if piece:
        yield piece


class _Begun(Response):
    """What the library answers to the request that begins an upload at UPLOAD instead of below FILES."""

    def __init__(self, files: Uploads) -> None:
        super().__init__()
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._files({**scope, "root_path": UPLOAD}, receive, send)


class _Problem(JSONResponse):
    media_type = "application/problem+json"

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        title = HTTPStatus(status).phrase
        super().__init__({"title": title, "status": status, "detail": detail}, status, headers)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # registered for nothing else
    detail = f"{request.method} {request.url.path}: {error.detail}"
    return _Problem(error.status_code, detail, dict(error.headers or {}))


def _failed(_request: Request, _error: Exception) -> Response:
    return _Problem(500, "the application failed; its log on stderr says how")
