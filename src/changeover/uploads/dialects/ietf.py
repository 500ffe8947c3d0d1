"""Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload), interop versions 3, 5, 6, 8 and 9.

104 (Upload Resumption Supported) is never sent: nginx takes it for the final response, and no ASGI server can send it.
A client that needs the URL early creates an empty upload first ("careful creation").
"""

from __future__ import annotations

from dataclasses import replace

from changeover.uploads.core import capability
from changeover.uploads.core.appending import ContentVerifier
from changeover.uploads.core.digests import REPR
from changeover.uploads.core.engine import Engine, NewUpload
from changeover.uploads.core.errors import (
    AlreadyComplete,
    BadRequest,
    ChecksumMismatch,
    Interrupted,
    TooLarge,
    WrongLength,
    WrongOffset,
)
from changeover.uploads.core.manifest import Manifest, UploadState
from changeover.uploads.dialects.http import DialectRequest, DialectResponse, error_response, problem, replayed
from changeover.uploads.protocols import ietf
from changeover.uploads.protocols.errors import MalformedField
from changeover.uploads.protocols.ietf import Interop, RequestFields


async def handle(engine: Engine, request: DialectRequest) -> DialectResponse:
    """Respond to a request of this dialect. Raises UploadError where the draft specifies no response."""
    try:
        fields = ietf.read(request.headers)
    except MalformedField as error:
        raise BadRequest(str(error)) from error
    try:
        if not request.id:
            return await _create(engine, request, fields)
        match request.method:
            case "HEAD" | "GET":
                return await _offset(engine, request, fields)
            case "PATCH":
                return await _append(engine, request, fields)
            case "DELETE":
                await engine.cancel(request.id, request.owner)
                return DialectResponse(204)
        return problem(405, f"{request.method} is not allowed on an upload", ("Allow", "HEAD, GET, PATCH, DELETE"))
    except WrongOffset as error:
        return problem(
            409,
            str(error),
            ("Upload-Offset", str(error.expected)),
            ietf.complete(fields.interop, False),
            type=ietf.MISMATCHING_OFFSET,
            **{"expected-offset": error.expected, "provided-offset": error.provided},
        )
    except WrongLength as error:
        more = (ietf.complete(fields.interop, False), *limits(engine, fields.interop))
        return problem(400, str(error), *more, type=ietf.INCONSISTENT_LENGTH)
    except TooLarge as error:
        return problem(413, str(error), *limits(engine, fields.interop))
    except Interrupted as error:
        return _interrupted(fields.interop, error)


async def _create(engine: Engine, request: DialectRequest, fields: RequestFields) -> DialectResponse:
    """Section "Upload Creation". Any method; the request has the whole body, a part of it, or none."""
    if fields.complete is None:
        raise BadRequest("Upload-Complete is needed to create an upload")
    verify = request.verifier()
    secret = capability.new_secret() if fields.wants_capability else ""
    manifest, is_earlier = await engine.idempotent.create(
        NewUpload(
            "ietf",
            request.owner,
            request.method,
            request.root + request.rest,
            request.kept_headers,
            length=_length(request, fields, 0),
        ),
        request.creation_key(f"complete={fields.complete:d}"),
        # A client with the whole body sends it again; the capability of an earlier upload cannot be repeated.
        restarts=fields.complete or fields.wants_capability,
        capability=capability.hashed(secret) if secret else "",
    )
    place = ("Location", request.url(manifest.id))
    if is_earlier:
        if manifest.state is UploadState.RECEIVING:
            manifest = await engine.fence(manifest.id, request.owner)
    else:
        async with engine.cancelled_on_error(manifest):
            try:
                manifest = await _take(engine, request, fields, manifest.id, 0, fields.complete, verify)
            except Interrupted as error:  # the client does not know the URL yet
                return _interrupted(fields.interop, error, place)
    if manifest.state is UploadState.RECEIVING:
        granted = (("Upload-Capability", request.reference(capability.path_of(manifest.id, secret))),) if secret else ()
        at = _at(fields.interop, manifest.offset)
        return DialectResponse(201, (place, *granted, *at, *limits(engine, fields.interop, manifest)))
    return await _final(engine, request, manifest, fields.interop, place)


async def _offset(engine: Engine, request: DialectRequest, fields: RequestFields) -> DialectResponse:
    """Section "Offset Retrieval": interrupts an append in progress, so that the offset stays correct."""
    if fields.interop.bare and (fields.offset is not None or fields.complete is not None):
        raise BadRequest("an offset retrieval has neither Upload-Offset nor Upload-Complete")
    manifest = await engine.fence(request.id, request.owner)
    # A client that sees "complete" sends no further request: the handler must have returned by then.
    if manifest.state is UploadState.COMPLETE:
        await engine.completion.response(manifest.id, request.owner)
    length = () if manifest.length is None else (("Upload-Length", str(manifest.length)),)
    return DialectResponse(
        204,
        (
            ("Upload-Offset", str(manifest.offset)),
            ietf.complete(fields.interop, manifest.state is not UploadState.RECEIVING),
            *(length if fields.interop.limited else ()),
            *limits(engine, fields.interop, manifest),
            ("Cache-Control", "no-store"),
        ),
    )


async def _append(engine: Engine, request: DialectRequest, fields: RequestFields) -> DialectResponse:
    """Section "Upload Append"."""
    if fields.offset is None or fields.complete is None:
        raise BadRequest("Upload-Offset and Upload-Complete are needed to append")
    if fields.interop.typed and request.media_type != ietf.PARTIAL:
        return problem(415, f"the content type of an append must be {ietf.PARTIAL}", ("Accept-Patch", ietf.PARTIAL))
    try:
        verify = request.verifier()
        manifest = await _take(engine, request, fields, request.id, fields.offset, fields.complete, verify)
    except AlreadyComplete as error:
        return await _append_to_complete(engine, request, fields, fields.offset, error)
    except ChecksumMismatch as error:  # section "Integrity Digests": nothing was appended
        response = error_response(error)
        return replace(response, headers=(*response.headers, *_at(fields.interop, fields.offset)))
    if manifest.state is UploadState.RECEIVING:
        return DialectResponse(204, (*_at(fields.interop, manifest.offset), *limits(engine, fields.interop, manifest)))
    return await _final(engine, request, manifest, fields.interop)


def _length(request: DialectRequest, fields: RequestFields, offset: int) -> int | None:
    """Section "Length": from Upload-Length, from the size of the last request, or from both, which must agree."""
    if not fields.complete or request.announced is None:
        return fields.length
    length = offset + request.announced
    if fields.length not in (None, length):
        raise WrongLength(f"Upload-Length is {fields.length}, but this request ends at byte {length}")
    return length


async def _take(
    engine: Engine,
    request: DialectRequest,
    fields: RequestFields,
    id: str,
    offset: int,
    complete: bool,
    verify: ContentVerifier | None,
) -> Manifest:
    try:
        length = _length(request, fields, offset)
        return await engine.append(
            id,
            request.owner,
            offset,
            request.body,
            complete=complete,
            length=length,
            announced=request.announced,
            verify=verify,
            repr_digest=request.headers.get(REPR),
        )
    except WrongLength:
        # Section "Upload Append": an upload whose offset exceeds its length is rejected and invalidated.
        await engine.cancel(id, request.owner)
        raise


async def _append_to_complete(
    engine: Engine, request: DialectRequest, fields: RequestFields, offset: int, error: AlreadyComplete
) -> DialectResponse:
    """An append to a complete upload. An empty one at its end asks again for a lost response."""
    manifest = await engine.find(request.id, request.owner)
    if offset != manifest.offset:
        raise WrongOffset(manifest.offset, offset)
    if fields.complete and await request.is_empty():
        return await _final(engine, request, manifest, fields.interop)
    return problem(400, str(error), type=fields.interop.completed)


async def _final(
    engine: Engine, request: DialectRequest, manifest: Manifest, interop: Interop, *more: tuple[str, str]
) -> DialectResponse:
    response = await engine.completion.response(manifest.id, request.owner)
    return replayed(response, *more, ("Upload-Offset", str(manifest.offset)), ietf.complete(interop, True))


def _interrupted(interop: Interop, error: Interrupted, *more: tuple[str, str]) -> DialectResponse:
    """Not complete, and a server error: the client asks for the offset and continues (section "Client Behavior")."""
    return problem(503, str(error), *more, *_at(interop, error.offset), ("Retry-After", "0"))


def _at(interop: Interop, offset: int) -> tuple[tuple[str, str], ...]:
    return ("Upload-Offset", str(offset)), ietf.complete(interop, False)


def limits(engine: Engine, interop: Interop, manifest: Manifest | None = None) -> tuple[tuple[str, str], ...]:
    """Section "Limits": of an upload, or of a new one."""
    if not interop.limited:
        return ()
    sizes = {"max-size": engine.limits.max_size, "max-append-size": engine.limits.max_append}
    left = engine.seconds_left(manifest)
    found = {**sizes, interop.lifetime: None if left is None else int(left)}
    return (ietf.limit({name: value for name, value in found.items() if value is not None}),)
