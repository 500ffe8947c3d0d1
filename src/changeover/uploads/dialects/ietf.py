"""Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload), interop versions 3, 5, 6, 8 and 9.

104 (Upload Resumption Supported) is never sent: nginx takes it for the final response, and no ASGI server can send it.
Clients that need it create the upload empty first ("careful creation"), which asks for none.
"""

from __future__ import annotations

from dataclasses import replace

from changeover.uploads.core.appending import ContentVerifier
from changeover.uploads.core.digests import REPR, of_content
from changeover.uploads.core.engine import Engine, NewUpload
from changeover.uploads.core.errors import (
    AlreadyComplete,
    BadRequest,
    DigestMismatch,
    Interrupted,
    TooLarge,
    WrongLength,
    WrongOffset,
)
from changeover.uploads.core.manifest import Manifest, UploadState
from changeover.uploads.dialects.http import HttpRequest, HttpResponse, problem, refusal, replayed
from changeover.uploads.protocols import ietf
from changeover.uploads.protocols.errors import MalformedField
from changeover.uploads.protocols.ietf import Interop, RequestFields


async def handle(engine: Engine, request: HttpRequest) -> HttpResponse:
    """Answer a request that speaks this dialect. Raises what the engine raises but for what the draft has words for."""
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
                return HttpResponse(204)
        return problem(405, f"{request.method} means nothing to an upload", ("Allow", "HEAD, GET, PATCH, DELETE"))
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


async def _create(engine: Engine, request: HttpRequest, fields: RequestFields) -> HttpResponse:
    """Section "Upload Creation". Any method; the whole body may come with it, or none of it."""
    if fields.complete is None:
        raise BadRequest("Upload-Complete is needed to begin an upload")
    verify = of_content(request.headers)
    manifest = await engine.create(
        NewUpload(
            "ietf",
            request.owner,
            request.method,
            request.root + request.rest,
            request.described,
            length=_length(request, fields, 0),
        )
    )
    place = ("Location", request.url(manifest.id))
    async with engine.cancelled_on_error(manifest):
        try:
            manifest = await _take(engine, request, fields, manifest.id, 0, fields.complete, verify)
        except Interrupted as error:  # the client has yet to learn where it can go on
            return _interrupted(fields.interop, error, place)
    if manifest.state is UploadState.RECEIVING:
        return HttpResponse(
            201, (place, *_at(fields.interop, manifest.offset), *limits(engine, fields.interop, manifest))
        )
    return await _answer(engine, request, manifest, fields.interop, place)


async def _offset(engine: Engine, request: HttpRequest, fields: RequestFields) -> HttpResponse:
    """Section "Offset Retrieval": ends any append that is under way, so that the offset stays what it says."""
    if fields.interop.bare and (fields.offset is not None or fields.complete is not None):
        raise BadRequest("a question for the offset carries neither Upload-Offset nor Upload-Complete")
    manifest = await engine.fence(request.id, request.owner)
    if (
        manifest.state is UploadState.COMPLETE
    ):  # who hears of that asks no more: by then the application must have had it
        await engine.completion.response(manifest.id, request.owner)
    length = () if manifest.length is None else (("Upload-Length", str(manifest.length)),)
    return HttpResponse(
        204,
        (
            ("Upload-Offset", str(manifest.offset)),
            ietf.complete(fields.interop, manifest.state is not UploadState.RECEIVING),
            *(length if fields.interop.limited else ()),
            *limits(engine, fields.interop, manifest),
            ("Cache-Control", "no-store"),
        ),
    )


async def _append(engine: Engine, request: HttpRequest, fields: RequestFields) -> HttpResponse:
    """Section "Upload Append"."""
    if fields.offset is None or fields.complete is None:
        raise BadRequest("Upload-Offset and Upload-Complete are needed to append")
    if fields.interop.typed and request.headers.get("content-type", "").partition(";")[0].strip() != ietf.PARTIAL:
        return problem(415, f"an append is of type {ietf.PARTIAL}", ("Accept-Patch", ietf.PARTIAL))
    try:
        verify = of_content(request.headers)
        manifest = await _take(engine, request, fields, request.id, fields.offset, fields.complete, verify)
    except AlreadyComplete as error:
        return await _again(engine, request, fields, fields.offset, error)
    except DigestMismatch as error:  # section "Integrity Digests": nothing was appended
        refused = refusal(error)
        return replace(refused, headers=(*refused.headers, *_at(fields.interop, fields.offset)))
    if manifest.state is UploadState.RECEIVING:
        return HttpResponse(204, (*_at(fields.interop, manifest.offset), *limits(engine, fields.interop, manifest)))
    return await _answer(engine, request, manifest, fields.interop)


def _length(request: HttpRequest, fields: RequestFields, offset: int) -> int | None:
    """Section "Length": said by Upload-Length, by the size of a request that is the last, or by both alike."""
    if not fields.complete or request.announced is None:
        return fields.length
    length = offset + request.announced
    if fields.length not in (None, length):
        raise WrongLength(f"Upload-Length is {fields.length}, but this request ends at byte {length}")
    return length


async def _take(
    engine: Engine,
    request: HttpRequest,
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
        # Section "Upload Append": once the offset exceeds the length, rejected and marked invalid.
        await engine.cancel(id, request.owner)
        raise


async def _again(
    engine: Engine, request: HttpRequest, fields: RequestFields, offset: int, error: AlreadyComplete
) -> HttpResponse:
    """An append to an upload that is complete. An empty one at its end asks for the answer that got lost."""
    manifest = await engine.find(request.id, request.owner)
    if offset != manifest.offset:
        raise WrongOffset(manifest.offset, offset)
    if fields.complete and await request.is_empty():
        return await _answer(engine, request, manifest, fields.interop)
    return problem(400, str(error), type=fields.interop.completed)


async def _answer(
    engine: Engine, request: HttpRequest, manifest: Manifest, interop: Interop, *more: tuple[str, str]
) -> HttpResponse:
    answer = await engine.completion.response(manifest.id, request.owner)
    return replayed(answer, *more, ("Upload-Offset", str(manifest.offset)), ietf.complete(interop, True))


def _interrupted(interop: Interop, error: Interrupted, *more: tuple[str, str]) -> HttpResponse:
    """Not complete, and a server error: the client is to ask for the offset and go on (section "Client Behavior")."""
    return problem(503, str(error), *more, *_at(interop, error.offset), ("Retry-After", "0"))


def _at(interop: Interop, offset: int) -> tuple[tuple[str, str], ...]:
    return ("Upload-Offset", str(offset)), ietf.complete(interop, False)


def limits(engine: Engine, interop: Interop, manifest: Manifest | None = None) -> tuple[tuple[str, str], ...]:
    """Section "Limits": those of an upload, or of one that is yet to be made."""
    if not interop.limited:
        return ()
    sizes = {"max-size": engine.limits.max_size, "max-append-size": engine.limits.max_append}
    left = engine.left(manifest)
    told = {**sizes, interop.lifetime: None if left is None else int(left)}
    return (ietf.limit({name: value for name, value in told.items() if value is not None}),)
