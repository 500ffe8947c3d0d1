"""Requests and responses as the dialects see them, whichever server carries them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from changeover.uploads.core.appending import ContentVerifier
from changeover.uploads.core.digests import CONTENT, REPR
from changeover.uploads.core.errors import (
    AlreadyComplete,
    BadRequest,
    Cancelled,
    ChecksumMismatch,
    DigestMismatch,
    Forbidden,
    NotFound,
    Rejected,
    RetryLater,
    TooLarge,
    TooManyUploads,
    Unreadable,
    UploadError,
    WrongLength,
)
from changeover.uploads.core.idempotency import CreationKey
from changeover.uploads.core.manifest import Response
from changeover.uploads.dialects import content
from changeover.uploads.protocols import digest, idempotency
from changeover.uploads.protocols.errors import MalformedField

CONTENT_HEADERS = ("content-type", "content-encoding", "content-language", "content-disposition", REPR)
"""Fields that describe the content. They are kept for the handler."""


@dataclass(frozen=True)
class DialectRequest:
    """One request. `root` is the path of the library, such as `/files`; `rest` is the path below it."""

    method: str
    root: str
    rest: str
    query: str
    headers: Mapping[str, str]
    """By lower-case name; repeated fields are joined by a comma."""
    body: AsyncIterator[bytes]
    owner: str
    base: str
    """The URL of the uploads, as clients reach them: a URL, or a path, without a final slash (`public_url.py`)."""
    keep_headers: tuple[str, ...] = ()
    """Fields to keep for the handler, in addition to CONTENT_HEADERS."""

    def url(self, id: str) -> str:
        """The URL of an upload, or its path."""
        return f"{self.base}/{id}"

    def reference(self, below: str) -> str:
        """A path below the uploads, for a client between this server and the clients that `url` is for.

        It is relative to the path of this request where that leads to the uploads, because a proxy on either side of
        that client may strip a prefix.
        """
        if not unquote(urlsplit(self.base).path).endswith(self.root):
            return self.url(below)
        return below if self.rest or not self.root else f"{quote(self.root.rpartition('/')[2])}/{below}"

    @property
    def kept_headers(self) -> dict[str, str]:
        """The fields of this request that are kept for the handler."""
        return {name: self.headers[name] for name in (*CONTENT_HEADERS, *self.keep_headers) if name in self.headers}

    @property
    def announced(self) -> int | None:
        """Bytes of the body, if `Content-Length` gives them."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None

    @property
    def media_type(self) -> str:
        """The type of the body without parameters, in lower case."""
        return content.media_type(self.headers)

    def verifier(self) -> ContentVerifier | None:
        """Compares the body with every digest that this request states; None without any. Raises BadRequest."""
        return content.verifier(self.headers)

    def creation_key(self, stated: str = "") -> CreationKey | None:
        """The `Idempotency-Key`, with what else this request states. Raises BadRequest."""
        if (text := self.headers.get("idempotency-key")) is None:
            return None
        try:
            return CreationKey(f"client {idempotency.read(text)}", f"{stated} {self.headers.get(CONTENT, '')}")
        except MalformedField as error:
            raise BadRequest(str(error)) from error

    async def is_empty(self) -> bool:
        """Whether there is no body; reads it. Raises BadRequest, ChecksumMismatch."""
        return await self.read(0) is not None

    async def read(self, limit: int) -> bytes | None:
        """The whole body, verified; None if it has more bytes than `limit`. Raises BadRequest, ChecksumMismatch."""
        verify = self.verifier()
        found = bytearray()
        async for piece in self.body:
            found += piece
            if len(found) > limit:
                return None
        if verify is not None:
            verify.update(bytes(found))
            verify.check()
        return bytes(found)

    @property
    def id(self) -> str:
        """The id in the path; empty for the collection."""
        return self.rest.strip("/").partition("/")[0]

    @property
    def below(self) -> str:
        """The path below the upload."""
        return self.rest.strip("/").partition("/")[2]


@dataclass(frozen=True)
class DialectResponse:
    """One response."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    """A large body, instead of `body`; the headers must have its length."""


@asynccontextmanager
async def closed_after(stream: AsyncIterator[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    """Close a stream at the end of the block, and with it the file or the connection that it reads."""
    try:
        yield stream
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()


def phrase(status: int) -> str:
    """The reason phrase of a status; empty for one without, which an application may choose."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def problem(status: int, detail: str, *headers: tuple[str, str], type: str = "", **more: Any) -> DialectResponse:
    """A problem document (RFC 9457)."""
    content = {**({"type": type} if type else {}), "title": phrase(status), "status": status, "detail": detail, **more}
    return DialectResponse(
        status, (("Content-Type", "application/problem+json"), *headers), json.dumps(content).encode()
    )


def json_response(status: int, content: Any, *headers: tuple[str, str]) -> DialectResponse:
    return DialectResponse(status, (("Content-Type", "application/json"), *headers), json.dumps(content).encode())


def replayed(response: Response, *headers: tuple[str, str]) -> DialectResponse:
    """The handler's response, with fields of the dialect. A `Location` of the handler replaces that of the dialect."""
    has_location = any(name.lower() == "location" for name, _ in response.headers)
    more = [each for each in headers if not (has_location and each[0] == "Location")]
    return DialectResponse(response.status, (*response.headers, *more), response.body)


def error_response(error: UploadError) -> DialectResponse:
    """The response to an error for which the dialect specifies none."""
    match error:
        case BadRequest():
            return problem(400, str(error), type=error.type)
        case DigestMismatch():
            provided = {"algorithm": error.algorithm, "provided-digest": digest.spell(error.provided)}
            return problem(400, str(error), type=digest.MISMATCHING, **provided)
        case ChecksumMismatch() | WrongLength():
            return problem(400, str(error))
        case Rejected():
            return problem(error.status, str(error))
        case TooManyUploads():
            return problem(429, str(error))
        case Forbidden():
            return problem(403, str(error))
        case Unreadable():
            return problem(410, str(error))  # final for every client: it begins again, which a 5xx would not make it do
        case NotFound() | Cancelled():
            return problem(404, str(error))
        case AlreadyComplete():
            return problem(409, str(error))
        case TooLarge():
            return problem(413, str(error))
        case RetryLater(full=True):
            return problem(507, str(error))
    return problem(503, str(error), ("Retry-After", "1"))
