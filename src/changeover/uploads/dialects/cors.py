"""Uploads from pages of other origins (fetch.spec.whatwg.org, section "CORS protocol"), for every dialect and server.

A preflight carries no credentials, so it is answered before any hook is asked. Refuses an origin that no browser sends,
because it would never match.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from changeover.uploads.dialects.http import DialectResponse

METHODS = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
EXPOSED = (
    *("Accept-Patch", "Accept-Ranges", "Content-Disposition", "Content-Length", "Content-Range", "ETag", "Location"),
    *("Range", "Retry-After", "Tus-Checksum-Algorithm", "Tus-Extension", "Tus-Max-Size", "Tus-Resumable"),
    *("Tus-Version", "Upload-Complete", "Upload-Concat", "Upload-Defer-Length", "Upload-Draft-Interop-Version"),
    *("Upload-Expires", "Upload-Incomplete", "Upload-Length", "Upload-Limit", "Upload-Metadata", "Upload-Offset"),
    *("Want-Content-Digest", "Want-Repr-Digest"),
)
"""Fields of the dialects' responses: scripts see only those that are exposed."""

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s,*]+|null")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OWN = "access-control-"


@dataclass(frozen=True)
class Cors:
    """Which pages of other origins may upload. Raises ValueError for a setting that has no effect in a browser."""

    origins: Sequence[str]
    """Such as `https://example.com`, without a path; `*`: every origin."""
    credentials: bool = False
    """Whether browsers may send cookies. Needs named origins."""
    expose: Sequence[str] = ()
    """Response headers of the handler that scripts may read, in addition to those of the dialects."""
    max_age: int = 7200
    """Seconds for which a browser may remember the answer to a preflight. Chromium takes no more than two hours."""

    def __post_init__(self) -> None:
        if isinstance(self.origins, str):
            raise ValueError("origins is a list, not one text")
        for origin in self.origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(f"an origin is `*` or like https://example.com, without a path, not {origin!r}")
        if self.credentials and "*" in self.origins:
            raise ValueError("browsers refuse credentials for the origin `*`: name the origins")
        for name in self.expose:
            if not _TOKEN.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of a response header")


def preflight(cors: Cors, method: str, headers: Mapping[str, str]) -> DialectResponse | None:
    """The response to a preflight; None for any other request. `headers` by lower-case name."""
    if method != "OPTIONS" or "origin" not in headers or "access-control-request-method" not in headers:
        return None
    wanted = [each.strip() for each in headers.get("access-control-request-headers", "").split(",")]
    allowed = ", ".join(each for each in wanted if _TOKEN.fullmatch(each))
    if not (common := _common(cors, headers)):
        return DialectResponse(204, _vary(cors))
    more = (("Access-Control-Allow-Methods", METHODS), ("Access-Control-Max-Age", str(cors.max_age)))
    names = (("Access-Control-Allow-Headers", allowed),) if allowed else ()
    return DialectResponse(204, (*common, *more, *names))


def readable(cors: Cors, response: DialectResponse, headers: Mapping[str, str]) -> DialectResponse:
    """The response with the fields that let an allowed page read it; `headers` are those of the request."""
    kept = tuple(each for each in response.headers if not each[0].lower().startswith(_OWN))
    if not (common := _common(cors, headers)):
        return replace(response, headers=(*kept, *_vary(cors)))
    exposed = ("Access-Control-Expose-Headers", ", ".join((*EXPOSED, *cors.expose)))
    return replace(response, headers=(*kept, *common, exposed))


def _vary(cors: Cors) -> tuple[tuple[str, str], ...]:
    """Keeps caches from giving the response for one origin to another."""
    return () if "*" in cors.origins else (("Vary", "Origin"),)


def _common(cors: Cors, headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Empty for an origin that is not allowed, and for a request of no page."""
    origin = headers.get("origin", "")
    if not origin or not ("*" in cors.origins or origin in cors.origins):
        return ()
    allow = ("Access-Control-Allow-Origin", "*" if "*" in cors.origins else origin)
    return (allow, *_vary(cors), *((("Access-Control-Allow-Credentials", "true"),) if cors.credentials else ()))
