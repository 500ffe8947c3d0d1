"""PUT with `Content-Range`, as in resumable uploads of Google Cloud Storage: 308 with `Range` until it is complete.

docs.cloud.google.com/storage/docs/performing-resumable-uploads: POST `?uploadType=resumable` begins an upload, and
`Location` has its URL. A PUT carries bytes, or with `bytes */LENGTH` asks for the offset.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from changeover.uploads.core.digests import REPR
from changeover.uploads.core.engine import Engine, NewUpload
from changeover.uploads.core.errors import AlreadyComplete, BadRequest, Interrupted, WrongOffset
from changeover.uploads.core.manifest import Manifest, UploadState
from changeover.uploads.dialects.http import DialectRequest, DialectResponse, problem, replayed
from changeover.uploads.protocols import content_range, tus
from changeover.uploads.protocols.errors import MalformedField

CREATION_FIELDS = ("x-upload-content-type", "x-upload-content-length")
"""Fields of the request that begins an upload."""
MAX_METADATA = 64 * 1024
"""Bytes of the body of the request that begins an upload: a JSON description of the object, which is not kept."""


async def create(engine: Engine, request: DialectRequest) -> DialectResponse:
    """Create an upload."""
    headers = request.kept_headers
    if (kind := request.headers.get("x-upload-content-type")) is not None:
        headers["content-type"] = kind
    try:
        length = tus.number(request.headers, "x-upload-content-length")
    except MalformedField as error:
        raise BadRequest(str(error)) from error
    if await request.read(MAX_METADATA) is None:
        raise BadRequest(f"the metadata of an upload has more than {MAX_METADATA} bytes")
    target = request.root + request.rest
    new = NewUpload("content-range", request.owner, request.method, target, headers, length=length)
    manifest, _ = await engine.idempotent.create(new, request.creation_key())
    return DialectResponse(200, (("Location", request.url(manifest.id)),))


async def handle(engine: Engine, request: DialectRequest) -> DialectResponse:
    """Append bytes, or respond with the offset. Without a range the body is the whole upload, as `curl -T` sends it."""
    try:
        range = content_range.read(request.headers.get("content-range") or _whole(request.announced))
    except MalformedField as error:
        raise BadRequest(str(error)) from error
    if range.first is None:
        manifest = await engine.fence(request.id, request.owner)
        length = manifest.length if range.length is None else range.length
        if manifest.state is UploadState.RECEIVING and length == manifest.offset:
            manifest = await _take(engine, request, manifest.offset, length)
        return await _progress(engine, request, manifest)
    if request.announced not in (None, range.size):
        raise BadRequest(f"Content-Range has {range.size} bytes, but Content-Length is {request.announced}")
    body = _at_most(range.size, request.body)
    try:
        manifest = await _take(engine, replace(request, body=body), range.first, range.length)
    except AlreadyComplete:
        manifest = await engine.find(request.id, request.owner)
    except WrongOffset as error:
        # Like GCS, respond with the offset: the client continues from there.
        return _incomplete(error.expected)
    except Interrupted as error:
        return problem(503, str(error), *_range(error.offset), ("Retry-After", "0"))
    return await _progress(engine, request, manifest)


def _whole(size: int | None) -> str:
    if size is None:
        raise BadRequest("a PUT needs Content-Range, or Content-Length and the whole upload")
    return f"bytes 0-{size - 1}/{size}" if size else "bytes */0"


async def _take(engine: Engine, request: DialectRequest, offset: int, length: int | None) -> Manifest:
    return await engine.append(
        request.id,
        request.owner,
        offset,
        request.body,
        complete=None,
        length=length,
        announced=request.announced,
        verify=request.verifier(),
        repr_digest=request.headers.get(REPR),
    )


async def _at_most(size: int, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A body whose size only its range announces. Raises BadRequest if it has more bytes."""
    async for piece in body:
        size -= len(piece)
        if size < 0:
            raise BadRequest("the body has more bytes than its Content-Range")
        yield piece


async def _progress(engine: Engine, request: DialectRequest, manifest: Manifest) -> DialectResponse:
    if manifest.state is UploadState.RECEIVING:
        return _incomplete(manifest.offset)
    response = await engine.completion.response(manifest.id, request.owner)
    # Google's clients take 200 alone for the end of an upload, and 201 for a failure.
    return replayed(replace(response, status=200) if response.status == 201 else response)


def _incomplete(offset: int) -> DialectResponse:
    return DialectResponse(308, _range(offset))


def _range(offset: int) -> tuple[tuple[str, str], ...]:
    """The durable bytes; no field while there are none."""
    return (("Range", f"bytes=0-{offset - 1}"),) if offset else ()
