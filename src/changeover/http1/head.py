"""Heads of HTTP/1.1 messages (RFC 9112): bytes to meaning, and back. Parsed by httptools.

Refuses whatever two servers could read in two ways, since that is how requests are smuggled: lengths that contradict
each other, a length beside chunks, codings other than `chunked`, folded lines, lone CR or LF, a missing or second Host.
The parser is more forgiving than this file: it takes several spaces, empty lines, and other protocols than HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus

import httptools

MAX_HEAD = 64 * 1024
"""Bytes of a head; a longer one is refused."""

Field = tuple[bytes, bytes]

_DIGITS = re.compile(rb"[0-9]{1,18}")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!\"$-~]+) HTTP/([0-9]\.[0-9])\r\n")
"""RFC 9112, section 3; a target has no fragment."""
_STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) [1-9][0-9]{2}(?: [\t -~\x80-\xff]*)?\r\n")
_PLAIN_LINES = rb"(?:[^\r\n\0 \t][^\r\n\0]*\r\n)*\r\n"
"""Lines that end with CRLF alone, none of them folded, and the empty line. One search costs less than five scans."""
_REQUEST = re.compile(_REQUEST_LINE.pattern + _PLAIN_LINES)
_RESPONSE = re.compile(_STATUS_LINE.pattern + _PLAIN_LINES)
_ABSOLUTE = re.compile(rb"https?://([^/?]+)(.*)", re.IGNORECASE)
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
"""RFC 9110, section 7.2."""
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
_FOR_ALL = frozenset({b"host", b"content-length"})
"""Fields that frame or direct a message: no `Connection` option makes them fields of one hop."""


_of_this_hop = lru_cache(16)(HOP_BY_HOP.union)


class BadHead(ValueError):
    """A head that is malformed or ambiguous. `status`: of the response that refuses it."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status = status


@dataclass(slots=True)  # not frozen: making one would take three times as long
class Head:
    """What requests and responses have in common."""

    headers: Sequence[Field]
    """As received, except Host (see `read_request`) and the Content-Length of a response without content."""
    fields: dict[bytes, bytes]
    """By lower-case name; the values of a repeated field are joined by a comma."""
    length: int | None
    """Bytes of the body; None: see `chunked`."""
    chunked: bool
    keep_alive: bool

    def passed_on(self, without: frozenset[bytes] = frozenset()) -> list[Field]:
        """The fields for the next hop: without those of this hop, and without `without`."""
        dropped = _of_this_hop(without)
        if (named := self.fields.get(b"connection")) is not None:
            dropped |= {name.strip().lower() for name in named.split(b",")} - _FOR_ALL
        return [field for field in self.headers if field[0].lower() not in dropped]


@dataclass(slots=True)
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


@dataclass(slots=True)
class ResponseHead(Head):
    status: int
    reason: bytes
    until_close: bool
    """The body ends where the connection does."""


class _Seen:
    """Collects what the parser reports."""

    __slots__ = ("complete", "fields", "headers", "reason", "repeated")

    def __init__(self) -> None:
        self.reason = b""
        self.headers: list[Field] = []
        self.fields: dict[bytes, bytes] = {}
        self.repeated: dict[bytes, list[bytes]] | None = None
        self.complete = False

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        value = value.rstrip(b" \t")
        self.headers.append((name, value))
        if (key := name.lower()) in self.fields:
            self._repeat(key, value)
        else:
            self.fields[key] = value

    def _repeat(self, key: bytes, value: bytes) -> None:
        if self.repeated is None:
            self.repeated = {}
        self.repeated.setdefault(key, [self.fields[key]]).append(value)

    def on_headers_complete(self) -> None:
        """Join repeated fields, once: one by one would be quadratic in the lines of a head."""
        self.complete = True
        if self.repeated is not None:
            self.fields.update((key, b", ".join(values)) for key, values in self.repeated.items())


def read_request(head: bytes) -> RequestHead:
    """A head with the empty line at its end. Raises BadHead.

    The result has one Host: of a target in absolute form its authority (RFC 9112, section 3.2.2), and an empty one
    where a request of HTTP/1.0 has none.
    """
    if len(head) > MAX_HEAD or (line := _REQUEST.fullmatch(head)) is None:
        _refuse_ambiguous(head, 431, 400)
        raise BadHead(400, "malformed request")
    method, target, version = line.groups()
    if version not in (b"1.1", b"1.0"):
        raise BadHead(505, f"HTTP/{version.decode()} is not supported")
    if method == b"CONNECT":
        raise BadHead(501, "CONNECT is not supported")
    seen = _Seen()
    try:
        httptools.HttpRequestParser(seen).feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # not followed: a server may ignore Upgrade (RFC 9110, section 7.8)
    except httptools.HttpParserInvalidMethodError:
        raise BadHead(501, "unknown method") from None
    except httptools.HttpParserError as error:
        raise BadHead(400, f"malformed request: {error}") from error
    if not seen.complete:
        raise BadHead(400, "malformed request")
    headers, fields = seen.headers, seen.fields
    if (host := fields.get(b"host")) is None and version == b"1.0":
        host = fields[b"host"] = b""
        headers.insert(0, (b"Host", b""))
    if host is None or _HOST.fullmatch(host) is None:  # the comma that joins two is part of no host
        raise BadHead(400, "a request needs exactly one Host, a name or an address")
    if not target.startswith(b"/") and (method, target) != (b"OPTIONS", b"*"):
        target, host = _of_absolute(target)
        fields[b"host"] = host
        headers = [(b"Host", host), *(each for each in headers if each[0].lower() != b"host")]
    length, chunked = _framing(fields, version)
    return RequestHead(
        headers,
        fields,
        0 if length is None and not chunked else length,
        chunked,
        _keeps_alive(fields, version),
        method,
        target,
        version == b"1.1" and fields.get(b"expect", b"").lower() == b"100-continue",
        version == b"1.1",
    )


def _of_absolute(target: bytes) -> tuple[bytes, bytes]:
    """The target as origins see it, and the host."""
    if (absolute := _ABSOLUTE.fullmatch(target)) is None:
        raise BadHead(400, "the target of the request is neither a path nor an http URI")
    if _HOST.fullmatch(absolute[1]) is None:
        raise BadHead(400, "the host in the target of the request is neither a name nor an address")
    return absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2], absolute[1]


def _refuse_ambiguous(head: bytes, too_long: int, status: int) -> None:
    """Raises BadHead where the reason is the length of a head, or its lines."""
    if len(head) > MAX_HEAD:
        raise BadHead(too_long, f"the head has more than {MAX_HEAD} bytes")
    lines = head.count(b"\r\n")
    if not lines == head.count(b"\n") == head.count(b"\r") or b"\0" in head or b"\n " in head or b"\n\t" in head:
        raise BadHead(status, "the head has a folded line, or a lone CR, LF or NUL")


def read_response(head: bytes, method: bytes) -> ResponseHead:
    """A head with the empty line at its end, in response to that method. Raises BadHead with a gateway's status."""
    if len(head) > MAX_HEAD or (line := _RESPONSE.fullmatch(head)) is None:
        _refuse_ambiguous(head, 502, 502)
        raise BadHead(502, "malformed response")
    seen = _Seen()
    parser = httptools.HttpResponseParser(seen)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        raise BadHead(502, "the response switches protocols") from None
    except httptools.HttpParserError as error:
        raise BadHead(502, f"malformed response: {error}") from error
    if not seen.complete:
        raise BadHead(502, "malformed response")
    version, status = line[1], parser.get_status_code()
    fields, headers = seen.fields, seen.headers
    try:
        length, chunked = _framing(fields, version)
    except BadHead as error:
        raise BadHead(502, f"the response is ambiguous: {error}") from error
    if method == b"HEAD" or status < 200 or status in (204, 304):  # RFC 9112, section 6.3
        length, chunked = 0, False
    if (
        status < 200 or status == 204
    ):  # RFC 9110, section 8.6: such a response has none, and a client would wait for content
        headers = [each for each in headers if each[0].lower() != b"content-length"]
    until_close = length is None and not chunked
    keep_alive = _keeps_alive(fields, version) and not until_close
    return ResponseHead(headers, fields, length, chunked, keep_alive, status, seen.reason, until_close)


def _framing(fields: dict[bytes, bytes], version: bytes) -> tuple[int | None, bool]:
    """RFC 9112, section 6.3, and its security considerations: ambiguous framing is refused, not repaired."""
    coding, length = fields.get(b"transfer-encoding"), fields.get(b"content-length")
    if coding is not None:
        if length is not None:
            raise BadHead(400, "Content-Length beside Transfer-Encoding")
        if version != b"1.1":
            raise BadHead(400, "Transfer-Encoding in a message of HTTP/1.0")
        if coding.lower() != b"chunked":
            raise BadHead(400, "Transfer-Encoding other than chunked")
        return None, True
    if length is None:
        return None, False
    if _DIGITS.fullmatch(length) is None:
        raise BadHead(400, "Content-Length is not one number")
    return int(length), False


def _keeps_alive(fields: dict[bytes, bytes], version: bytes) -> bool:
    if (value := fields.get(b"connection")) is None:
        return version == b"1.1"
    options = {option.strip().lower() for option in value.split(b",")}
    return b"close" not in options and (version == b"1.1" or b"keep-alive" in options)


def format_request(method: bytes, target: bytes, headers: Iterable[Field]) -> bytes:
    """Raises BadHead if a recipient would read another message."""
    return _format(b"%b %b HTTP/1.1" % (method, target), headers, _REQUEST)


def format_response(status: int, reason: bytes, headers: Iterable[Field]) -> bytes:
    """Raises BadHead if a recipient would read another message."""
    return _format(b"HTTP/1.1 %d %b" % (status, reason or _phrase(status)), headers, _RESPONSE)


def _format(start: bytes, headers: Iterable[Field], form: re.Pattern[bytes]) -> bytes:
    lines = [start, *[b": ".join(field) for field in headers], b"", b""]
    head = b"\r\n".join(lines)
    if form.fullmatch(head) is None or head.count(b"\n") != len(lines) - 1:
        raise BadHead(502, "the start of the head is malformed, or a field of it has more than one line")
    return head


def _phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"-"
