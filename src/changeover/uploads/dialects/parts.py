"""Uploads in parts: create, PUT parts in any order and concurrently, list, complete, cancel.

    POST   /files/?parts                        201  {"id": ..., "url": ...}
    PUT    /files/ID/parts/N                    200  {"part": N, "size": ...}; a second PUT replaces it
    GET    /files/ID/parts                      200  {"parts": [{"part": N, "size": ...}, ...]}
    POST   /files/ID/complete                   the handler's response; body {"parts": [1, 2, ...]}, or empty for all
    DELETE /files/ID                            204

The limits are those of S3 (docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html), without its minimum size.
"""

from __future__ import annotations

import json

from changeover.uploads.core.digests import REPR
from changeover.uploads.core.engine import Engine, NewUpload
from changeover.uploads.core.errors import BadRequest, Interrupted
from changeover.uploads.core.manifest import UploadPart, UploadState
from changeover.uploads.dialects import content
from changeover.uploads.dialects.http import DialectRequest, DialectResponse, json_response, problem, replayed

MAX_PARTS = 10_000
"""Parts of one upload, numbered from 1."""
MAX_LIST = 1_000_000
"""Bytes of the list of parts that completes an upload."""


async def create(engine: Engine, request: DialectRequest) -> DialectResponse:
    target = request.root + request.rest
    new = NewUpload("parts", request.owner, request.method, target, request.kept_headers)
    manifest, is_earlier = await engine.idempotent.create(new, request.creation_key())
    async with engine.cancelled_on_error(manifest):
        if not is_earlier and not await request.is_empty():
            raise BadRequest("this request creates an upload in parts, and has no body; send the bytes as parts")
    url = request.url(manifest.id)
    return json_response(201, {"id": manifest.id, "url": url}, ("Location", url))


async def handle(engine: Engine, request: DialectRequest) -> DialectResponse:
    """Respond to a request for `ID/parts`, `ID/parts/N` or `ID/complete`. Raises UploadError."""
    try:
        match request.method, request.below.split("/"):
            case "GET" | "HEAD", ["parts"]:
                parts = await engine.parts.parts(request.id, request.owner)
                return json_response(200, {"parts": [_part_json(n, part) for n, part in sorted(parts.items())]})
            case "PUT", ["parts", number]:
                n, verify = _number(number), content.verifier(request.headers, is_representation=True)
                part = await engine.parts.put(request.id, request.owner, n, request.body, verify)
                return json_response(200, _part_json(n, part))
            case "POST", ["complete"]:
                return await _complete(engine, request)
    except Interrupted:
        return problem(503, "this instance is shutting down; send the part again", ("Retry-After", "0"))
    return problem(404, f"{request.method} {request.below} is not a request for an upload in parts")


def _number(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MAX_PARTS:
        return int(text)
    raise BadRequest(f"a part number is from 1 to {MAX_PARTS}, not {text!r}")


def _part_json(number: int, part: UploadPart) -> dict[str, int]:
    return {"part": number, "size": part.size}


async def _complete(engine: Engine, request: DialectRequest) -> DialectResponse:
    manifest = await engine.find(request.id, request.owner)
    if manifest.state is UploadState.RECEIVING:
        await engine.parts.assemble(request.id, request.owner, await _order(request), request.headers.get(REPR))
    return replayed(await engine.completion.response(request.id, request.owner))


async def _order(request: DialectRequest) -> list[int] | None:
    body = await request.read(MAX_LIST)
    if body is None:
        raise BadRequest(f"the list of parts has more than {MAX_LIST} bytes")
    if not body:
        return None
    try:
        order = json.loads(body)["parts"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadRequest('the body must be {"parts": [1, 2, ...]}, or empty for all parts') from error
    if (
        not isinstance(order, list)
        or not all(isinstance(n, int) and not isinstance(n, bool) for n in order)
        or not order
    ):
        raise BadRequest("parts must be a list of numbers")
    if sorted(set(order)) != order:
        raise BadRequest("parts must be in ascending order, without repetition")
    return order
