"""tus 1.0.0: core, creation, creation-with-upload, creation-defer-length, expiration, checksum, termination,
concatenation. Sections are those of tus.io/protocols/resumable-upload.
"""

from __future__ import annotations

import contextlib
from email.utils import formatdate
from urllib.parse import quote, unquote, urljoin, urlsplit

from changeover.uploads.core.appending import ContentVerifier
from changeover.uploads.core.digests import REPR
from changeover.uploads.core.engine import Engine, NewUpload
from changeover.uploads.core.errors import (
    AlreadyComplete,
    BadRequest,
    ChecksumMismatch,
    Forbidden,
    Interrupted,
    NotFound,
    TooLarge,
    UploadError,
    WrongOffset,
)
from changeover.uploads.core.manifest import Manifest, Response, UploadState
from changeover.uploads.dialects.http import DialectRequest, DialectResponse, error_response, problem, replayed
from changeover.uploads.protocols import tus
from changeover.uploads.protocols.errors import MalformedField

_RESUMABLE = ("Tus-Resumable", tus.VERSION)


async def handle(engine: Engine, request: DialectRequest) -> DialectResponse:
    """Respond to a request of this dialect. Every response has `Tus-Resumable` (section "Headers")."""
    try:
        response = await _handle(engine, request)
    except UploadError as error:
        response = error_response(error)
    return DialectResponse(response.status, (_RESUMABLE, *response.headers), response.body)


async def _handle(engine: Engine, request: DialectRequest) -> DialectResponse:
    method = request.headers.get("x-http-method-override", request.method).upper()
    if request.headers.get("tus-resumable") != tus.VERSION:
        # Section "Versioning": 412, and the request must not be processed.
        return problem(412, f"this server supports tus {tus.VERSION}", ("Tus-Version", tus.VERSION))
    try:
        if not request.id:
            if method != "POST":
                return problem(405, f"{method} is not allowed on the collection", ("Allow", "POST, OPTIONS"))
            return await _create(engine, request)
        if request.below:
            raise NotFound
        match method:
            case "HEAD":
                return await _offset(engine, request)
            case "PATCH":
                return await _append(engine, request)
            case "DELETE":
                await engine.cancel(request.id, request.owner)
                return DialectResponse(204)
        return problem(405, f"{method} is not allowed on an upload", ("Allow", "HEAD, PATCH, DELETE"))
    except MalformedField as error:
        raise BadRequest(str(error)) from error
    except WrongOffset as error:
        return problem(409, str(error), ("Upload-Offset", str(error.expected)))
    except ChecksumMismatch as error:
        return DialectResponse(460, (("Content-Type", "text/plain"),), str(error).encode())
    except Interrupted as error:
        return problem(503, str(error), ("Upload-Offset", str(error.offset)), ("Retry-After", "0"))
    except _RefusedByHandler as refused:
        return replayed(refused.response)


class _RefusedByHandler(Exception):
    """The handler responded to the complete upload with an error."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


def options(engine: Engine) -> tuple[tuple[str, str], ...]:
    """The tus fields of the response to OPTIONS (section "OPTIONS")."""
    size = () if engine.limits.max_size is None else (("Tus-Max-Size", str(engine.limits.max_size)),)
    return (
        _RESUMABLE,
        ("Tus-Version", tus.VERSION),
        ("Tus-Extension", ",".join(tus.EXTENSIONS)),
        ("Tus-Checksum-Algorithm", ",".join(tus.CHECKSUMS)),
        *size,
    )


async def _create(engine: Engine, request: DialectRequest) -> DialectResponse:
    """Extension "Creation", with a body where the request has one ("Creation With Upload")."""
    headers = request.headers
    length = tus.number(headers, "upload-length")
    deferred = headers.get("upload-defer-length")
    concat = tus.concat(headers["upload-concat"]) if "upload-concat" in headers else None
    if deferred not in (None, "1"):
        raise BadRequest(f"Upload-Defer-Length must be 1, not {deferred!r}")
    final = concat is not None and concat.kind == "final"
    if final and (length is not None or deferred):
        raise BadRequest("a final upload has no length of its own: omit Upload-Length and Upload-Defer-Length")
    if not final and (length is None) == (deferred is None):
        raise BadRequest("exactly one of Upload-Length and Upload-Defer-Length is needed")
    described = len(headers.get("upload-metadata", "")) + len(headers.get("upload-concat", ""))
    if described > engine.limits.max_metadata:
        raise TooLarge(f"Upload-Metadata and Upload-Concat of {described} bytes", engine.limits.max_metadata)
    new = NewUpload(
        "tus",
        request.owner,
        request.method,
        request.root + request.rest,
        _kept(request),
        tus.metadata(headers["upload-metadata"]) if headers.get("upload-metadata") else {},
        length,
        headers.get("upload-concat", ""),
    )
    has_body = not final and (length == 0 or request.media_type == tus.PATCH_TYPE)
    verify = request.verifier() if has_body else None
    if final and not await request.is_empty():
        raise BadRequest("a final upload has no bytes of its own")
    if concat is not None and final:
        ids = [_named(request, url) for url in concat.urls]
        manifest, is_earlier = await engine.concatenate(new, ids, request.creation_key()), False
    else:
        manifest, is_earlier = await engine.idempotent.create(new, request.creation_key())
    if is_earlier and manifest.state is UploadState.RECEIVING:
        manifest = await engine.fence(manifest.id, request.owner)
    # Relative where possible: aiotus (1.1) joins it to its endpoint, and fails on a path that begins with a slash.
    place = (
        "Location",
        manifest.id if request.rest.endswith("/") and request.base == quote(request.root) else request.url(manifest.id),
    )
    if has_body and not is_earlier:
        async with engine.cancelled_on_error(manifest):
            with contextlib.suppress(Interrupted):  # the response has the offset of what arrived
                await _take(engine, request, manifest.id, 0, verify)
        manifest = await engine.find(manifest.id, request.owner)
    await _handle_completed(engine, request, manifest)
    return DialectResponse(201, (place, ("Upload-Offset", str(manifest.offset)), *_expires(manifest)))


def _kept(request: DialectRequest) -> dict[str, str]:
    """The fields for the handler. The type of tus is that of the request, not of the upload."""
    headers = request.kept_headers
    if request.media_type == tus.PATCH_TYPE:
        del headers["content-type"]
    return headers


def _named(request: DialectRequest, url: str) -> str:
    """The id in the relative or absolute URL of a partial upload. Raises BadRequest."""
    try:
        path = unquote(urlsplit(urljoin(request.base + "/", url)).path)
    except ValueError as error:  # `http://[`
        raise BadRequest(f"{url} is not a URL") from error
    folder, _, id = path.rstrip("/").rpartition("/")
    if folder != unquote(urlsplit(request.base).path) and not folder.endswith(request.root):  # a proxy strips a prefix
        raise BadRequest(f"{url} is not an upload below {request.base}")
    return id


async def _offset(engine: Engine, request: DialectRequest) -> DialectResponse:
    """Section "HEAD"; interrupts an append in progress, so that the offset stays correct."""
    manifest = await engine.find(request.id, request.owner)
    if not manifest.is_concatenation:  # clients do not append to a final upload
        manifest = await engine.fence(request.id, request.owner)
    # A client that sees every byte here sends no further request: the handler must have returned by then.
    await _handle_completed(engine, request, manifest)
    known = ("Upload-Defer-Length", "1") if manifest.length is None else ("Upload-Length", str(manifest.length))
    metadata = (
        (("Upload-Metadata", tus.spell_metadata(manifest.metadata)),)
        if manifest.metadata and manifest.dialect == "tus"
        else ()
    )
    concat = (("Upload-Concat", manifest.concat),) if manifest.concat else ()
    return DialectResponse(
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


async def _append(engine: Engine, request: DialectRequest) -> DialectResponse:
    """Section "PATCH"."""
    if request.media_type != tus.PATCH_TYPE:
        return problem(415, f"the content type of a PATCH must be {tus.PATCH_TYPE}")
    offset = tus.number(request.headers, "upload-offset")
    if offset is None:
        raise BadRequest("a PATCH needs Upload-Offset")
    before = await engine.find(request.id, request.owner)
    if before.is_concatenation:
        raise Forbidden("a final upload accepts no bytes")
    try:
        manifest = await _take(engine, request, request.id, offset, request.verifier())
    except AlreadyComplete:
        manifest = await engine.find(request.id, request.owner)
        if offset != manifest.offset:
            raise WrongOffset(manifest.offset, offset) from None
        if not await request.is_empty():
            raise  # an empty one asks again for a lost response
    await _handle_completed(engine, request, manifest)
    return DialectResponse(204, (("Upload-Offset", str(manifest.offset)), *_expires(manifest)))


async def _take(
    engine: Engine, request: DialectRequest, id: str, offset: int, verify: ContentVerifier | None
) -> Manifest:
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
        repr_digest=request.headers.get(REPR),
    )


async def _handle_completed(engine: Engine, request: DialectRequest, manifest: Manifest) -> None:
    """Call the handler before the last response.

    tus specifies the statuses of success, so that the handler's response is not sent; but an error is, since its client
    would take the upload for accepted. Raises _RefusedByHandler.
    """
    if manifest.state is not UploadState.RECEIVING and manifest.needs_handler:
        response = await engine.completion.response(manifest.id, request.owner)
        if response.status >= 400:
            raise _RefusedByHandler(response)


def _expires(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    """Extension "Expiration": the time at which an unfinished upload expires."""
    if manifest.state is not UploadState.RECEIVING or manifest.expires is None:
        return ()
    return (("Upload-Expires", formatdate(manifest.expires, usegmt=True)),)
