"""Chunked upload in parts: create, PUT part N in any order and side by side, list, complete, abort.

    POST   /files/?parts                        201  {"id": ..., "url": ...}
    PUT    /files/ID/parts/N                    200  {"part": N, "size": ...}; again replaces it
    GET    /files/ID/parts                      200  {"parts": [{"part": N, "size": ...}, ...]}
    POST   /files/ID/complete                   the application's answer; body {"parts": [1, 2, ...]} or nothing: all
    DELETE /files/ID                            204

Limits are those of S3 (docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html) but for the least size of a part.
"""

from __future__ import annotations

import json

from changeover.uploads.core.digests import of_content
from changeover.uploads.core.engine import Engine, NewUpload
from changeover.uploads.core.errors import BadRequest, Interrupted
from changeover.uploads.core.manifest import UploadPart, UploadState
from changeover.uploads.dialects.http import HttpRequest, HttpResponse, as_json, problem, replayed

MOST = 10_000
"""Parts of one upload; they are numbered from 1."""
LIST = 1_000_000
"""Bytes of the list of parts that completes an upload."""


async def create(engine: Engine, request: HttpRequest) -> HttpResponse:
    target = request.root + request.rest
    manifest = await engine.create(NewUpload("parts", request.owner, request.method, target, request.described))
    url = request.url(manifest.id)
    return as_json(201, {"id": manifest.id, "url": url}, ("Location", url))


async def handle(engine: Engine, request: HttpRequest) -> HttpResponse:
    """Answer a request to `ID/parts`, `ID/parts/N` or `ID/complete`."""
    try:
        match request.method, request.below.split("/"):
            case "GET" | "HEAD", ["parts"]:
                manifest = await engine.find(request.id, request.owner)
                return as_json(200, {"parts": [_told(n, part) for n, part in sorted(manifest.parts.items())]})
            case "PUT", ["parts", number]:
                n, verify = _number(number), of_content(request.headers)
                return as_json(200, _told(n, await engine.put_part(request.id, request.owner, n, request.body, verify)))
            case "POST", ["complete"]:
                return await _complete(engine, request)
    except Interrupted:
        return problem(503, "this instance is leaving; send the part again", ("Retry-After", "0"))
    return problem(404, f"{request.method} {request.below} means nothing to an upload in parts")


def _number(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MOST:
        return int(text)
    raise BadRequest(f"a part is numbered from 1 to {MOST}, not {text!r}")


def _told(number: int, part: UploadPart) -> dict[str, int]:
    return {"part": number, "size": part.size}


async def _complete(engine: Engine, request: HttpRequest) -> HttpResponse:
    manifest = await engine.find(request.id, request.owner)
    if manifest.state is UploadState.RECEIVING:
        await engine.assemble(request.id, request.owner, await _order(request))
    return replayed(await engine.completion.response(request.id, request.owner))


async def _order(request: HttpRequest) -> list[int] | None:
    body = b""
    async for piece in request.body:
        body += piece
        if len(body) > LIST:
            raise BadRequest("the list of parts is too long")
    if not body:
        return None
    try:
        told = json.loads(body)["parts"]
    except (ValueError, TypeError, KeyError) as error:
        raise BadRequest('the body must be {"parts": [1, 2, ...]}, or empty for all of them in order') from error
    if not isinstance(told, list) or not all(isinstance(n, int) and not isinstance(n, bool) for n in told) or not told:
        raise BadRequest("parts must be a list of numbers")
    if sorted(set(told)) != told:
        raise BadRequest("parts must be in ascending order, each once")
    return told
