"""Find the dialect of a request, whichever server carries it."""

from __future__ import annotations

from changeover.uploads.core.engine import Engine
from changeover.uploads.core.errors import BadRequest, NotFound
from changeover.uploads.core.manifest import UploadState
from changeover.uploads.dialects import content_range, ietf, parts, plain, tus
from changeover.uploads.dialects.http import DialectRequest, DialectResponse, problem
from changeover.uploads.protocols import digest
from changeover.uploads.protocols import ietf as ietf_fields


async def dispatch(engine: Engine, request: DialectRequest) -> DialectResponse:
    """Respond to a request in its dialect. Raises UploadError, ClientDisconnected."""
    headers, method = request.headers, request.method
    if method == "OPTIONS":
        return _options(engine)
    if "tus-resumable" in headers:
        return await tus.handle(engine, request)
    if not request.id:
        return await _begin(engine, request)
    if request.below == "content" and method in ("GET", "HEAD"):
        return await _content(engine, request)
    if request.below:
        return await parts.handle(engine, request)
    if method == "PUT" and not ietf_fields.is_spoken(headers):
        return await content_range.handle(engine, request)
    return await ietf.handle(engine, request)


def _options(engine: Engine) -> DialectResponse:
    return DialectResponse(
        204,
        (
            *tus.options(engine),
            *ietf.limits(engine, ietf_fields.NEWEST),
            ("Accept-Patch", ietf_fields.PARTIAL),
            ("Want-Content-Digest", digest.WANTED),
            ("Want-Repr-Digest", digest.WANTED),
        ),
    )


async def _begin(engine: Engine, request: DialectRequest) -> DialectResponse:
    """A request to the collection, which begins an upload."""
    if ietf_fields.is_spoken(request.headers):
        return await ietf.handle(engine, request)
    if request.method not in ("POST", "PUT"):
        return problem(405, f"{request.method} is not allowed on the collection", ("Allow", "POST, PUT, OPTIONS"))
    if "content-range" in request.headers:
        # RFC 9110, section 14.4: a part must not be taken for the whole.
        raise BadRequest("Content-Range is not allowed here; send it to the URL of an upload")
    if request.query == "parts":
        return await parts.create(engine, request)
    if "uploadType=resumable" in request.query.split("&"):
        return await content_range.create(engine, request)
    return await plain.handle(engine, request)


async def _content(engine: Engine, request: DialectRequest) -> DialectResponse:
    manifest = await engine.find(request.id, request.owner)
    if manifest.state is UploadState.RECEIVING:
        raise NotFound("this upload is not complete")
    headers = (
        ("Content-Length", str(manifest.offset)),
        ("Content-Type", "application/octet-stream"),
        ("X-Content-Type-Options", "nosniff"),
    )
    return DialectResponse(200, headers, stream=engine.store.pieces(manifest.id, manifest.segments))
