"""Requests and responses as the dialects see them, whichever server carries them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from changeover.uploads.core.digests import REPR
from changeover.uploads.core.errors import (
    AlreadyComplete,
    BadRequest,
    Cancelled,
    DigestMismatch,
    Forbidden,
    NotFound,
    Rejected,
    RetryLater,
    TooLarge,
    TooManyUploads,
    UploadError,
    WrongLength,
)
from changeover.uploads.core.manifest import Response
from changeover.uploads.protocols import digest

DESCRIBES = ("content-type", "content-encoding", "content-language", "content-disposition", REPR)
"""Fields of the request that begins an upload which describe the content, kept for the application."""


@dataclass(frozen=True)
class HttpRequest:
    """One request. `root` is where the library is mounted, such as `/files`; `rest` what follows it."""

    method: str
    root: str
    rest: str
    query: str
    headers: Mapping[str, str]
    """By lower-case name; what came twice is joined by a comma."""
    body: AsyncIterator[bytes]
    owner: str
    base_path: str = ""
    """Where uploads are found, if that is not `root`."""
    keep_headers: tuple[str, ...] = ()
    """Fields that the application wants to know of, beside DESCRIBES."""

    @property
    def base(self) -> str:
        return self.base_path or self.root

    def url(self, id: str) -> str:
        """Where an upload is found: a path, which holds whatever name the proxies in front go by."""
        return f"{self.base}/{id}"

    @property
    def described(self) -> dict[str, str]:
        """The fields that are kept of a request that begins an upload."""
        return {name: self.headers[name] for name in (*DESCRIBES, *self.keep_headers) if name in self.headers}

    @property
    def announced(self) -> int | None:
        """Bytes of the body, where that is known before it comes."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() else None

    async def is_empty(self) -> bool:
        """Whether there is no body; reads it."""
        async for piece in self.body:
            if piece:
                return False
        return True

    @property
    def id(self) -> str:
        """The upload that is meant; empty for the collection."""
        return self.rest.strip("/").partition("/")[0]

    @property
    def below(self) -> str:
        """What follows the upload's id."""
        return self.rest.strip("/").partition("/")[2]


@dataclass(frozen=True)
class HttpResponse:
    """What is answered."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    """Instead of `body`, for what is large; its length must be among the headers."""


def phrase(status: int) -> str:
    """What a status is called; empty for one that has no name, as an application may well choose."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def problem(status: int, detail: str, *headers: tuple[str, str], type: str = "", **more: Any) -> HttpResponse:
    """A problem document (RFC 9457)."""
    told = {
        **({"type": type} if type else {}),
        "title": phrase(status),
        "status": status,
        "detail": detail,
        **more,
    }
    content = ("Content-Type", "application/problem+json")
    return HttpResponse(status, (content, *headers), json.dumps(told).encode())


def as_json(status: int, told: Any, *headers: tuple[str, str]) -> HttpResponse:
    return HttpResponse(status, (("Content-Type", "application/json"), *headers), json.dumps(told).encode())


def replayed(answer: Response, *headers: tuple[str, str]) -> HttpResponse:
    """The application's answer, with fields of the dialect. A Location that the application names is the one."""
    named = any(name.lower() == "location" for name, _ in answer.headers)
    more = [each for each in headers if not (named and each[0] == "Location")]
    return HttpResponse(answer.status, (*answer.headers, *more), answer.body)


def refusal(error: UploadError) -> HttpResponse:
    """What a client is told of an error for which its dialect has no words of its own."""
    match error:
        case BadRequest():
            return problem(400, str(error), type=error.type)
        case DigestMismatch():
            provided = {"algorithm": error.algorithm, "provided-digest": digest.spell(error.provided)}
            return problem(400, str(error), type=digest.MISMATCHING, **provided)
        case WrongLength():
            return problem(400, str(error))
        case Rejected():
            return problem(error.status, str(error))
        case TooManyUploads():
            return problem(429, str(error))
        case Forbidden():
            return problem(403, str(error))
        case NotFound() | Cancelled():
            return problem(404, str(error))
        case AlreadyComplete():
            return problem(409, str(error))
        case TooLarge():
            return problem(413, str(error))
        case RetryLater(full=True):
            return problem(507, str(error))
    return problem(503, str(error), ("Retry-After", "1"))
