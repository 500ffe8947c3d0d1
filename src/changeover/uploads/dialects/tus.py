"""tus 1.0.0: core, creation, creation-with-upload, creation-defer-length, expiration, checksum, termination,
concatenation. Sections are those of tus.io/protocols/resumable-upload.
"""

from __future__ import annotations

import contextlib
import hashlib
from email.utils import formatdate
from urllib.parse import urljoin, urlsplit

import crc32c

from changeover.uploads.core.appending import ContentVerifier
from changeover.uploads.core.digests import of_content
from changeover.uploads.core.engine import Engine, NewUpload
from changeover.uploads.core.errors import (
    AlreadyComplete,
    BadRequest,
    ChecksumMismatch,
    Forbidden,
    Interrupted,
    NotFound,
    UploadError,
    WrongOffset,
)
from changeover.uploads.core.manifest import Manifest, UploadState
from changeover.uploads.dialects.http import HttpRequest, HttpResponse, problem, refusal
from changeover.uploads.protocols import tus
from changeover.uploads.protocols.errors import MalformedField

_RESUMABLE = ("Tus-Resumable", tus.VERSION)


async def handle(engine: Engine, request: HttpRequest) -> HttpResponse:
    """Answer a request that speaks this dialect. Every response carries `Tus-Resumable` (section "Headers")."""
    try:
        response = await _handle(engine, request)
    except UploadError as error:
        response = refusal(error)
    return HttpResponse(response.status, (_RESUMABLE, *response.headers), response.body)


async def _handle(engine: Engine, request: HttpRequest) -> HttpResponse:
    method = request.headers.get("x-http-method-override", request.method).upper()
    if request.headers.get("tus-resumable") != tus.VERSION:
        # Section "Versioning": 412, and the request must not be processed.
        return problem(412, f"tus {tus.VERSION} is spoken here", ("Tus-Version", tus.VERSION))
    try:
        if not request.id:
            if method != "POST":
                return problem(405, f"{method} means nothing to the collection", ("Allow", "POST, OPTIONS"))
            return await _create(engine, request)
        if request.below:
            raise NotFound("there is no such upload")
        match method:
            case "HEAD":
                return await _offset(engine, request)
            case "PATCH":
                return await _append(engine, request)
            case "DELETE":
                await engine.cancel(request.id, request.owner)
                return HttpResponse(204)
        return problem(405, f"{method} means nothing to an upload", ("Allow", "HEAD, PATCH, DELETE"))
    except MalformedField as error:
        raise BadRequest(str(error)) from error
    except WrongOffset as error:
        return problem(409, str(error), ("Upload-Offset", str(error.expected)))
    except ChecksumMismatch as error:
        return HttpResponse(460, (("Content-Type", "text/plain"),), str(error).encode())
    except Interrupted as error:
        return problem(503, str(error), ("Upload-Offset", str(error.offset)), ("Retry-After", "0"))


def options(engine: Engine) -> tuple[tuple[str, str], ...]:
    """What OPTIONS says of tus (section "OPTIONS")."""
    size = () if engine.limits.max_size is None else (("Tus-Max-Size", str(engine.limits.max_size)),)
    return (
        _RESUMABLE,
        ("Tus-Version", tus.VERSION),
        ("Tus-Extension", ",".join(tus.EXTENSIONS)),
        ("Tus-Checksum-Algorithm", ",".join(tus.CHECKSUMS)),
        *size,
    )


async def _create(engine: Engine, request: HttpRequest) -> HttpResponse:
    """Extension "Creation", with its body where it has one ("Creation With Upload")."""
    headers = request.headers
    length = tus.number(headers, "upload-length")
    deferred = headers.get("upload-defer-length")
    joined = tus.concat(headers["upload-concat"]) if "upload-concat" in headers else None
    if deferred not in (None, "1"):
        raise BadRequest(f"Upload-Defer-Length must be 1, not {deferred!r}")
    final = joined is not None and joined.kind == "final"
    if final and (length is not None or deferred):
        raise BadRequest("the length of a final upload follows from its parts")
    if not final and (length is None) == (deferred is None):
        raise BadRequest("exactly one of Upload-Length and Upload-Defer-Length is needed")
    new = NewUpload(
        "tus",
        request.owner,
        request.method,
        request.root + request.rest,
        {},
        tus.metadata(headers["upload-metadata"]) if headers.get("upload-metadata") else {},
        length,
        headers.get("upload-concat", ""),
    )
    verify = _verify(request)
    if joined is not None and final:
        manifest = await engine.join(new, [_named(request, url) for url in joined.urls])
    else:
        manifest = await engine.create(new)
    # Relative where it can be: aiotus (1.1) joins it to its endpoint, and cannot take one that begins with a slash.
    place = (
        "Location",
        manifest.id if request.rest.endswith("/") and request.base == request.root else request.url(manifest.id),
    )
    content_type = headers.get("content-type")
    if not final and (length == 0 or content_type == tus.PATCH_TYPE):
        async with engine.cancelled_on_error(manifest):
            with contextlib.suppress(Interrupted):  # as much as came is there, and the client is told how much that is
                await _take(engine, request, manifest.id, 0, verify)
        manifest = await engine.find(manifest.id, request.owner)
    await _finished(engine, request, manifest)
    return HttpResponse(201, (place, ("Upload-Offset", str(manifest.offset)), *_expires(manifest)))


def _named(request: HttpRequest, url: str) -> str:
    """The id in the URL of a partial upload, relative or absolute. Raises BadRequest."""
    path = urlsplit(urljoin(request.base + "/", url)).path
    if not path.startswith(request.base + "/"):
        raise BadRequest(f"{url} is not an upload of {request.base}")
    return path.removeprefix(request.base + "/").strip("/")


async def _offset(engine: Engine, request: HttpRequest) -> HttpResponse:
    """Section "HEAD"; ends any append that is under way, so that the offset stays what it says."""
    manifest = await engine.find(request.id, request.owner)
    if not manifest.joined:  # a final upload is filled by nobody's append
        manifest = await engine.fence(request.id, request.owner)
    # A client that learns here that every byte has arrived asks no more: by then the application must have had them.
    await _finished(engine, request, manifest)
    known = ("Upload-Defer-Length", "1") if manifest.length is None else ("Upload-Length", str(manifest.length))
    metadata = (("Upload-Metadata", tus.spell_metadata(manifest.metadata)),) if manifest.metadata else ()
    concat = (("Upload-Concat", manifest.concat),) if manifest.concat else ()
    return HttpResponse(
        200,
        (
            ("Upload-Offset", str(manifest.offset)),
            known,
            *metadata,
            *concat,
            *_expires(manifest),
            ("Cache-Control", "no-store"),
        ),
    )


async def _append(engine: Engine, request: HttpRequest) -> HttpResponse:
    """Section "PATCH"."""
    if request.headers.get("content-type") != tus.PATCH_TYPE:
        return problem(415, f"a PATCH is of type {tus.PATCH_TYPE}")
    offset = tus.number(request.headers, "upload-offset")
    if offset is None:
        raise BadRequest("Upload-Offset is needed")
    before = await engine.find(request.id, request.owner)
    if before.joined:
        raise Forbidden("a final upload takes no bytes of its own")
    try:
        manifest = await _take(engine, request, request.id, offset, _verify(request))
    except AlreadyComplete:
        manifest = await engine.find(request.id, request.owner)
        if offset != manifest.offset:
            raise WrongOffset(manifest.offset, offset) from None
        if not await request.is_empty():
            raise  # otherwise it did not get the last answer, and asks for it again
    await _finished(engine, request, manifest)
    return HttpResponse(204, (("Upload-Offset", str(manifest.offset)), *_expires(manifest)))


def _verify(request: HttpRequest) -> ContentVerifier | None:
    told = request.headers.get("upload-checksum")
    return of_content(request.headers) if told is None else _Verify(tus.checksum(told))


async def _take(engine: Engine, request: HttpRequest, id: str, offset: int, verify: ContentVerifier | None) -> Manifest:
    length = tus.number(request.headers, "upload-length")
    return await engine.append(
        id,
        request.owner,
        offset,
        request.body,
        complete=None,
        length=length,
        announced=request.announced,
        verify=verify,
    )


async def _finished(engine: Engine, request: HttpRequest, manifest: Manifest) -> None:
    """The application gets it before the last answer; what it answers is not for tus, which has its own statuses."""
    if manifest.state is not UploadState.RECEIVING and manifest.is_for_application:
        await engine.completion.response(manifest.id, request.owner)


def _expires(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    """Extension "Expiration": while it is unfinished, until when."""
    if manifest.state is not UploadState.RECEIVING or manifest.expires is None:
        return ()
    return (("Upload-Expires", formatdate(manifest.expires, usegmt=True)),)


class _Verify:
    """Extension "Checksum"."""

    def __init__(self, told: tus.Checksum) -> None:
        self._told = told
        self._crc = 0
        self._hash = None if told.algorithm == "crc32c" else hashlib.new(told.algorithm, usedforsecurity=False)

    def update(self, piece: bytes) -> None:
        if self._hash is None:
            self._crc = crc32c.crc32c(piece, self._crc)
        else:
            self._hash.update(piece)

    def check(self) -> None:
        found = self._crc.to_bytes(4) if self._hash is None else self._hash.digest()
        if found != self._told.digest:
            raise ChecksumMismatch(f"the {self._told.algorithm} of these bytes is another one; none was kept")
