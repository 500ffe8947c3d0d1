"""A stream of requests as the room http1 reads it, as h11 reads it, and the streams that both are given.

`read` is what a server does with the room: heads, bodies, the next head. The servers have their own way to the same
bytes; tests/process/test_readers.py holds them to this one.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import h11
from hypothesis import strategies as st

from changeover.http1.chunked import BadChunk, Chunks
from changeover.http1.head import BadHead, RequestHead, read_request
from changeover.http1.head_buffer import HeadBuffer


@dataclass(frozen=True)
class Seen:
    """A whole request."""

    method: bytes
    target: bytes
    host: bytes
    body: bytes


@dataclass
class Reading:
    """The whole requests of a connection, and how it ends once the client sends no more."""

    requests: list[Seen] = field(default_factory=list)
    refused: int = 0
    """The status of the response that refuses what follows them; 0: none does."""
    end: int = 0
    """Bytes of the stream that the whole requests take."""


def pieces_of(stream: bytes, cuts: Sequence[int]) -> list[bytes]:
    places = sorted({0, *(min(cut, len(stream)) for cut in cuts), len(stream)})
    return [stream[begin:end] for begin, end in itertools.pairwise(places)]


def read(stream: bytes, cuts: Sequence[int] = ()) -> Reading:
    """The stream, cut at these places, and then the end of the connection."""
    reader = _Reader()
    for piece in pieces_of(stream, cuts):
        if reader.closed:
            break
        reader.feed(piece)
    if not reader.closed and reader.between_requests and reader.buffer.begun:
        reader.reading.refused = 400
    return reader.reading


class _Reader:
    def __init__(self) -> None:
        self.reading = Reading()
        self.buffer = HeadBuffer()
        self.closed = False
        self._head: RequestHead | None = None
        self._body = b""
        self._chunks: Chunks | None = None
        self._fed = 0

    @property
    def between_requests(self) -> bool:
        return self._head is None

    def feed(self, piece: bytes) -> None:
        self.buffer.add(piece)
        self._fed += len(piece)
        try:
            while not self.closed and self._step():
                pass
        except BadHead as error:
            self.reading.refused, self.closed = error.status, True
        except BadChunk:
            self.reading.refused, self.closed = 400, True

    def _step(self) -> bool:
        """Whether a request became whole."""
        if self._head is None:
            if (text := self.buffer.head()) is None:
                return False
            self._head, self._body = read_request(text), b""
            self._chunks = Chunks() if self._head.chunked else None
        head, data = self._head, self.buffer.take_rest()
        if self._chunks is not None:
            content, used = self._chunks.feed(data)
            self._body += b"".join(content)
            whole = self._chunks.ended
        else:
            used = (head.length or 0) - len(self._body)
            self._body += data[:used]
            whole = len(self._body) == head.length
        self.buffer.add(data[used:])
        if whole:
            self.reading.requests.append(Seen(head.method, head.target, head.fields[b"host"], self._body))
            self.reading.end = self._fed - len(data[used:])
            self._head, self.closed = None, not head.keep_alive
        return whole


def read_by_h11(stream: bytes) -> Reading:
    """The same by h11; `refused` is its hint."""
    connection, reading = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20), Reading()
    connection.receive_data(stream)
    try:
        while connection.their_state is h11.IDLE:
            request = connection.next_event()
            if not isinstance(request, h11.Request):
                break
            body = b""
            while isinstance(event := connection.next_event(), h11.Data):
                body += bytes(event.data)
            if not isinstance(event, h11.EndOfMessage):
                break
            reading.end = len(stream) - len(connection.trailing_data[0])
            host = b"".join(value for name, value in request.headers if name == b"host")
            reading.requests.append(Seen(request.method, request.target, host, body))
            if request.method == b"CONNECT":
                break
            connection.send(h11.Response(status_code=204, headers=[]))
            connection.send(h11.EndOfMessage())
            if h11.MUST_CLOSE in (connection.our_state, connection.their_state):
                break
            connection.start_next_cycle()
    except h11.RemoteProtocolError as error:
        reading.refused = error.error_status_hint
    return reading


# -- streams ---------------------------------------------------------------------------------------------------------

starts = st.sampled_from(
    [b"GET / HTTP/1.1", b"POST /a HTTP/1.1", b"PUT /b?c=d HTTP/1.1", b"DELETE /a HTTP/1.1", b"OPTIONS * HTTP/1.1"] * 4
    + [b"GET http://b:1/c HTTP/1.1", b"POST HTTP://b?d HTTP/1.1", b"POST /a HTTP/1.0", b"GET / HTTP/1.0"] * 2
    + [b"GET / HTTP/1.2", b"GET / HTTP/2.0", b"GET  / HTTP/1.1", b"CONNECT a:1 HTTP/1.1", b"BREW / HTTP/1.1", b"GET /"]
)
lines = st.sampled_from(
    [b"X: a", b"X:", b"X: \xff \t", b"Accept: */*", b"Connection: x, y", b"Connection: keep-alive"] * 3
    + [b"Connection: close", b"Connection: x, Close", b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings"] * 2
    + [b"Content-Length: 3", b"Content-Length: +3", b"Content-Length: 3, 3", b"Content-Length: 0"]
    + [b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked, gzip", b"Transfer-Encoding: chunked"]
    + [b"Transfer-Encoding : chunked", b"X: a\r\n b", b" X: a", b"X", b"X : a", b"X: a\x01", b"X: a\rb", b"Host: b"]
)
ends = st.sampled_from([b"\r\n"] * 60 + [b"\n", b"\r", b"\r\n ", b"\0\r\n"])
bits = st.sampled_from([b"", b" ", b"\t", b"\r", b"\n", b"\r\n", b"\0", b"\x0b", b":", b",", b";", b"/", b"1", b"\x85"])
extensions = st.sampled_from([b""] * 6 + [b";a", b";a=b", b' ;a="\t"'])
trailers = st.sampled_from(
    [b""] * 4 + [b"X: y\r\n", b"Content-Length: 5\r\n", b"Host: c\r\nX:\r\n", b"X : y\r\n", b"X\r\n"]
)

contents = st.lists(st.sampled_from([b"a", b"bcdef", b"\r\n", b"0\r\n\r\n", b"GET / HTTP/1.1\r\n"]), max_size=5).map(
    b"".join
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request, mostly well-formed."""
    fields = draw(st.lists(lines, max_size=3)) + draw(st.sampled_from([[b"Host: a"]] * 15 + [[]]))
    body = b""
    match draw(st.sampled_from(["none", "length", "chunks"])):
        case "length":
            body = draw(contents)
            fields.append(b"Content-Length: %d" % len(body))
        case "chunks":
            pieces = [piece for piece in draw(st.lists(contents, max_size=4)) if piece]
            body = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), draw(extensions), piece) for piece in pieces)
            body += b"0" + draw(extensions) + b"\r\n" + draw(trailers) + b"\r\n"
            fields.append(draw(st.sampled_from([b"Transfer-Encoding: chunked", b"transfer-encoding:\tChunked "])))
    return b"".join(line + draw(ends) for line in [draw(starts), *fields]) + b"\r\n" + body


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Up to three requests, and up to two places where other bytes stand."""
    stream = b"".join(draw(st.lists(requests(), min_size=1, max_size=3)))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        place = draw(st.integers(0, len(stream)))
        stream = stream[:place] + draw(bits) + stream[place + draw(st.integers(0, 2)) :]
    return stream


cuts = st.lists(st.integers(0, 300), max_size=6)

ASKING = b"GET / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
STRICTER = {
    "folded lines (RFC 9112, 5.2)": (rb"\n[ \t]", ASKING + b"X: a\r\n b\r\n\r\n"),
    "lone CR or LF (RFC 9112, 2.2)": (rb"(?<!\r)\n|\r(?!\n)", ASKING + b"X: a\n\r\n"),
    "control characters in values and extensions (RFC 9110, 5.5)": (
        rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]",
        ASKING + b"X: a\x01b\r\n\r\n",
    ),
    "lengths that are repeated (RFC 9112, 6.3)": (
        rb"(?is)content-length:.*content-length:|content-length:[^\r\n]*,",
        ASKING + b"Content-Length: 1, 1\r\n\r\na",
    ),
    "a length beside chunks (RFC 9112, 6.1)": (
        rb"(?is)content-length:.*transfer-encoding:|transfer-encoding:.*content-length:",
        CHUNKED + b"Content-Length: 1\r\n\r\n0\r\n\r\n",
    ),
    "chunks in HTTP/1.0 (RFC 9112, 6.1)": (
        rb"(?is)HTTP/1\.0\r\n.*transfer-encoding:",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "targets that are no path and no http URI (RFC 9112, 3.2)": (
        rb"[!-~]+ (?!/|\* |https?://[^/?])\S+ HTTP/|(?<!OPTIONS) \* ",
        b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    "characters that no target has (RFC 3986, 2)": (
        rb" [!-~]*[#\x80-\xff][^\r\n]* HTTP/",
        b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    "hosts that are none (RFC 9110, 7.2)": (
        rb"(?im)^host:[^\r\n]*[^A-Za-z0-9._\r\n \t-]|^host: *\S+[ \t]+\S"
        rb"|//[^/? ]*[^A-Za-z0-9.:/? -]|//[^/? ]*:[0-9]*[^0-9/? ]",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    ),
    "methods that are not known (RFC 9110, 9.1), and CONNECT": (
        rb"(?<![A-Z])(?!(?:GET|POST|PUT|DELETE|OPTIONS) )[!#$%&'*+.^_`|~0-9A-Za-z-]+ \S+ HTTP/",
        b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    "versions other than 1.0 and 1.1": (rb" HTTP/(?!1\.[01]\r)", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
}
"""What h11 takes and this room refuses: the decision, the bytes that call for it, and an example."""
MORE_LENIENT = {
    "empty lines before a request (RFC 9112, 2.2)": (rb"\A(?:\r\n)+", b"\r\n" + ASKING + b"\r\n"),
    "a space before an extension (RFC 9112, 7.1.1)": (
        rb"[0-9A-Fa-f][ \t]+(?:;|\r)",
        CHUNKED + b"\r\n1 ;a\r\na\r\n0\r\n\r\n",
    ),
    "a connection of HTTP/1.0 that stays (RFC 9112, 9.3)": (
        rb"(?is) HTTP/1\.0\r\n.*keep-alive",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + ASKING + b"\r\n",
    ),
}
"""What this room takes and h11 refuses: a recipient is to take both."""


def decisions(table: dict[str, tuple[bytes, bytes]], stream: bytes) -> list[str]:
    return [name for name, (pattern, _) in table.items() if re.search(pattern, stream)]
