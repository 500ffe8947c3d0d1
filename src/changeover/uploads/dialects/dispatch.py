"""Find the dialect of a request, whichever server carries it."""

from __future__ import annotations

from urllib.parse import parse_qs

from changeover.uploads.core.engine import Engine
from changeover.uploads.core.errors import BadRequest
from changeover.uploads.dialects import content_range, download, ietf, parts, plain, tus
from changeover.uploads.dialects.http import DialectRequest, DialectResponse, problem
from changeover.uploads.protocols import digest
from changeover.uploads.protocols import ietf as ietf_fields
from changeover.uploads.protocols import tus as tus_fields


async def dispatch(engine: Engine, request: DialectRequest) -> DialectResponse:
    """Respond to a request in its dialect. Raises UploadError, ClientDisconnected."""
    headers, method = request.headers, request.method
    if method == "OPTIONS":
        return _options(engine)
    if request.below == "content" and method in ("GET", "HEAD"):
        return await download.respond(engine, request)
    if "tus-resumable" in headers or _lacks_tus_version(request):
        return await tus.handle(engine, request)
    if not request.id:
        return await _begin(engine, request)
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
    if ietf_fields.is_spoken(request.headers) and not ietf_fields.is_whole_in_unknown_draft(request.headers):
        return await ietf.handle(engine, request)
    if request.method not in ("POST", "PUT"):
        return problem(405, f"{request.method} is not allowed on the collection", ("Allow", "POST, PUT, OPTIONS"))
    if "content-range" in request.headers:
        # RFC 9110, section 14.4: a part must not be taken for the whole.
        raise BadRequest("Content-Range is not allowed here; send it to the URL of an upload")
    query = parse_qs(request.query, keep_blank_values=True, encoding="latin-1")
    if "parts" in query:
        return await parts.create(engine, request)
    if query.get("uploadType") == ["resumable"]:
        return await content_range.create(engine, request)
    if "uploadType" in query and query["uploadType"] != ["media"]:
        raise BadRequest(f"uploadType must be resumable or media, not {','.join(query['uploadType'])!r}")
    if not request.headers.keys().isdisjoint(content_range.CREATION_FIELDS):
        raise BadRequest("X-Upload-Content-Length and -Type need uploadType=resumable in the query")
    return await plain.handle(engine, request)


def _lacks_tus_version(request: DialectRequest) -> bool:
    """Whether a request of tus has no `Tus-Resumable`. Taken for a plain one, it would be a complete empty upload."""
    if request.id and request.method != "PATCH":
        return False
    if not request.headers.keys().isdisjoint(ietf_fields.COMPLETION_FIELDS):
        return False
    return request.media_type == tus_fields.PATCH_TYPE or not request.headers.keys().isdisjoint(tus_fields.FIELDS)
