"""Heads of HTTP/1.1 messages (RFC 9112): bytes to meaning, and back. Parsed by httptools.

Refuses whatever two servers could read in two ways, since that is how requests are smuggled: lengths that contradict
each other, a length beside chunks, codings other than `chunked`, folded lines, lone CR or LF, a missing or second Host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import httptools

MOST = 64 * 1024
"""Bytes of a head; more is refused."""

Field = tuple[bytes, bytes]

_AMBIGUOUS = re.compile(rb"\r\n[ \t]|(?<!\r)\n|\r(?!\n)|\0")
_DIGITS = re.compile(rb"[0-9]{1,18}")
_PLACES = re.compile(rb"[!-~]+")
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"proxy-authenticate",
        b"proxy-authorization",
    }
)
"""Fields that are for the next hop alone (RFC 9110, section 7.6.1, and what older software adds)."""


class BadHead(ValueError):
    """A head that is not understood, or not in one way alone. `status`: what its sender is answered."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status = status


@dataclass(frozen=True, slots=True)
class Head:
    """What requests and responses have in common."""

    headers: Sequence[Field]
    """As they came."""
    fields: dict[bytes, bytes]
    """By lower-case name; what came twice is joined by a comma."""
    length: int | None
    """Bytes of the body; None: see `chunked`."""
    chunked: bool
    keep_alive: bool

    def passed_on(self, without: Iterable[bytes] = ()) -> list[Field]:
        """The fields that the next hop is to see: none that were for this one, and none of `without`."""
        named = {name.strip().lower() for name in self.fields.get(b"connection", b"").split(b",")}
        dropped = HOP_BY_HOP | named | {*without}
        return [field for field in self.headers if field[0].lower() not in dropped]


@dataclass(frozen=True, slots=True)
class RequestHead(Head):
    method: bytes
    target: bytes
    expects: bool
    """The client waits for 100 (Continue) before it sends the body."""
    understands_chunks: bool
    """It speaks HTTP/1.1."""

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.length)

    @property
    def path(self) -> bytes:
        return self.target.partition(b"?")[0]


@dataclass(frozen=True, slots=True)
class ResponseHead(Head):
    status: int
    reason: bytes
    until_close: bool
    """The body ends where the connection does."""


class _Seen:
    """What httptools calls back with."""

    def __init__(self) -> None:
        self.url = b""
        self.reason = b""
        self.headers: list[Field] = []
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.complete = True


def read_request(head: bytes) -> RequestHead:
    """A head with the empty line at its end. Raises BadHead."""
    if _AMBIGUOUS.search(head):
        raise BadHead(400, "the head has a folded line, or a lone CR, LF or NUL")
    seen = _Seen()
    parser = httptools.HttpRequestParser(seen)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # not followed: `Upgrade` is for this hop alone, and this hop does not
    except httptools.HttpParserError as error:
        raise BadHead(400, f"this is no request: {error}") from error
    if not seen.complete:
        raise BadHead(400, "this is no request")
    version = parser.get_http_version()
    if version not in ("1.1", "1.0"):
        raise BadHead(505, f"HTTP/{version} is not spoken here")
    method = parser.get_method()
    if method == b"CONNECT":
        raise BadHead(501, "this is no tunnel")
    if _PLACES.fullmatch(seen.url) is None:
        raise BadHead(400, "the target of the request has characters that no target has")
    fields = _fields(seen.headers)
    hosts = sum(name.lower() == b"host" for name, _ in seen.headers)
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise BadHead(400, "exactly one Host is needed")
    length, chunked = _framing(seen.headers, fields, version)
    return RequestHead(
        seen.headers,
        fields,
        0 if length is None and not chunked else length,
        chunked,
        _keeps_alive(fields, version),
        method,
        seen.url,
        fields.get(b"expect", b"").lower() == b"100-continue" and version == "1.1",
        version == "1.1",
    )


def read_response(head: bytes, method: bytes) -> ResponseHead:
    """A head with the empty line at its end, in answer to that method. Raises BadHead, for a gateway to answer."""
    if _AMBIGUOUS.search(head):
        raise BadHead(502, "the answer's head has a folded line, or a lone CR, LF or NUL")
    seen = _Seen()
    parser = httptools.HttpResponseParser(seen)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        raise BadHead(502, "the answer changes the protocol") from None
    except httptools.HttpParserError as error:
        raise BadHead(502, f"this is no answer: {error}") from error
    if not seen.complete:
        raise BadHead(502, "this is no answer")
    version, status = parser.get_http_version(), parser.get_status_code()
    fields = _fields(seen.headers)
    try:
        length, chunked = _framing(seen.headers, fields, version)
    except BadHead as error:
        raise BadHead(502, f"the answer is ambiguous: {error}") from error
    if method == b"HEAD" or status < 200 or status in (204, 304):  # RFC 9112, section 6.3
        length, chunked = 0, False
    until_close = length is None and not chunked
    keep_alive = _keeps_alive(fields, version) and not until_close
    return ResponseHead(seen.headers, fields, length, chunked, keep_alive, status, seen.reason, until_close)


def _fields(headers: Iterable[Field]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        key = name.lower()
        found[key] = found[key] + b", " + value if key in found else value
    return found


def _framing(headers: Iterable[Field], fields: dict[bytes, bytes], version: str) -> tuple[int | None, bool]:
    """RFC 9112, section 6.3, and its security considerations: what is ambiguous is refused, not repaired."""
    coding, said = fields.get(b"transfer-encoding"), fields.get(b"content-length")
    if coding is not None:
        if said is not None:
            raise BadHead(400, "Content-Length beside Transfer-Encoding")
        if version != "1.1":
            raise BadHead(400, "Transfer-Encoding in a message of HTTP/1.0")
        if coding.lower() != b"chunked":
            raise BadHead(501, "Transfer-Encoding other than chunked")
        return None, True
    if said is None:
        return None, False
    if _DIGITS.fullmatch(said) is None:
        raise BadHead(400, "Content-Length is not one number")
    return int(said), False


def _keeps_alive(fields: dict[bytes, bytes], version: str) -> bool:
    told = {word.strip().lower() for word in fields.get(b"connection", b"").split(b",")}
    return b"close" not in told if version == "1.1" else b"keep-alive" in told


def spell_request(method: bytes, target: bytes, headers: Iterable[Field]) -> bytes:
    return b"".join((method, b" ", target, b" HTTP/1.1\r\n", *_lines(headers)))


def spell_response(status: int, reason: bytes, headers: Iterable[Field]) -> bytes:
    return b"".join((b"HTTP/1.1 %d " % status, reason or _phrase(status), b"\r\n", *_lines(headers)))


def _lines(headers: Iterable[Field]) -> Iterable[bytes]:
    for name, value in headers:
        yield name
        yield b": "
        yield value
        yield b"\r\n"
    yield b"\r\n"


def _phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"-"
