"""Heads of requests and responses, mutated: what this room takes, h11 takes too, and reads alike.

The other direction, with bodies, is test_against_h11.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import h11
import pytest
from h11._connection import _body_framing
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from changeover.http1 import head as heads
from changeover.http1.head import BadHead, RequestHead, read_request, read_response

starts = st.sampled_from(
    [
        b"POST /up HTTP/1.1",
        b"GET /a?b=c HTTP/1.1",
        b"POST / HTTP/1.0",
        b"PUT  /two HTTP/1.1",
        b"GET http://b/c HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"GET / RTSP/1.0",
    ]
)
answers = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 204 No",
        b"HTTP/1.1 304",
        b"HTTP/1.1 103 Soon",
        b"HTTP/1.1 500 \xe4",
    ]
)
lines = st.sampled_from(
    [
        b"Host: a",
        b"Content-Length: 5",
        b"Content-Length: 5 ",
        b"content-length:6",
        b"Content-Length: 5, 5",
        b"Content-Length: +5",
        b"Content-Length: 0x5",
        b"Transfer-Encoding: chunked",
        b"transfer-encoding:\tCHUNKED ",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked\r\n , identity",
        b"Connection: close",
        b"Connection: keep-alive, upgrade",
        b"Upgrade: h2c",
        b"Expect: 100-continue",
        b"X: a\r\n b",
        b"X: \xff \t",
        b"X:",
        b" X: a",
        b"X",
    ]
)
ends = st.sampled_from([b"\r\n"] * 40 + [b"\n", b"\r", b"\r\n ", b"\0\r\n"])
bits = st.sampled_from([b"", b" ", b"\t", b"\r", b"\n", b"\r\n", b"\0", b"\x0b", b":", b",", b";", b"/", b"1", b"\x85"])


@st.composite
def texts(draw: st.DrawFn, start: st.SearchStrategy[bytes]) -> bytes:
    """A head, and up to two places where something else stands than should."""
    told = draw(st.lists(lines, max_size=3)) + draw(st.sampled_from([[b"Host: a"]] * 7 + [[]]))
    text = b"".join(line + draw(ends) for line in [draw(start), *told])
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(bits) + text[place + draw(st.integers(0, 2)) :]
    return text.partition(b"\r\n\r\n")[0].rstrip(b"\r\n") + b"\r\n\r\n"


def framing(event: h11.Request | h11.Response, method: bytes) -> tuple[int | None, bool]:
    """As `length` and `chunked` say it."""
    how, size = _body_framing(method, event)
    return (size[0] if how == "content-length" and size else None), how == "chunked"


def lowered(headers: list[heads.Field]) -> list[heads.Field]:
    """As h11 tells them: names in lower case, and codings."""
    told = [(name.lower(), value) for name, value in headers]
    return [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in told]


def agree_on_request(text: bytes, read: Callable[[bytes], RequestHead] = read_request) -> None:
    """What we take, h11 takes, and reads alike."""
    try:
        ours = read(text)
    except BadHead:
        return
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(text)
    theirs = connection.next_event()
    assert isinstance(theirs, h11.Request)
    target, host = theirs.target, [value for name, value in theirs.headers if name == b"host"]
    if absolute := re.fullmatch(rb"(?i)https?://([^/?]*)(.*)", target):
        host, target = [absolute[1]], b"/" * (not absolute[2].startswith(b"/")) + absolute[2]
    assert (ours.method, ours.target, ours.fields[b"host"]) == (theirs.method, target, b"".join(host))
    rest = [each for each in lowered([*ours.headers]) if each[0] != b"host"]
    assert rest == [each for each in theirs.headers if each[0] != b"host"]
    assert (ours.length, ours.chunked) == framing(theirs, theirs.method)
    if connection.their_state is h11.MUST_CLOSE or b"close" in ours.fields.get(b"connection", b"").lower().split(b","):
        assert not ours.keep_alive or theirs.http_version == b"1.0"


def agree_on_response(text: bytes, method: bytes = b"GET") -> None:
    try:
        ours = read_response(text, method)
    except BadHead:
        return
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(text)
    theirs = connection.next_event()
    assert isinstance(theirs, h11.Response | h11.InformationalResponse)
    assert (ours.status, ours.reason) == (theirs.status_code, theirs.reason)
    none = ours.status < 200 or ours.status == 204  # RFC 9110, section 8.6
    headers = [each for each in theirs.headers if not none or each[0] != b"content-length"]
    assert lowered([*ours.headers]) == headers
    if isinstance(theirs, h11.Response):
        assert (ours.length, ours.chunked) == framing(theirs, method)
        assert ours.until_close is (ours.length is None and not ours.chunked)


often = settings(max_examples=5 * settings().max_examples)
"""A head costs little."""


@often
@given(texts(starts))
def test_whatever_request_is_accepted_h11_reads_alike(text: bytes) -> None:
    agree_on_request(text)


@often
@given(texts(answers), st.sampled_from([b"GET", b"HEAD", b"POST"]))
def test_whatever_answer_is_accepted_h11_reads_alike(text: bytes, method: bytes) -> None:
    agree_on_response(text, method)


REPAIRS = {
    "folded lines": (rb"\r\n[ \t]+", b""),
    "a space before the colon": (rb"[ \t]+:", b":"),
    "a sign before a length": (rb"\+", b""),
    "two spaces": (b"  ", b" "),
    "a NUL": (rb"\0", b""),
}


@pytest.mark.parametrize(("pattern", "instead"), REPAIRS.values(), ids=REPAIRS)
def test_a_reader_that_repairs_what_it_should_refuse_is_found_out(pattern: bytes, instead: bytes) -> None:
    @settings(often, max_examples=5000, phases=[Phase.generate], database=None, report_multiple_bugs=False)
    @given(texts(starts))
    def check(text: bytes) -> None:
        agree_on_request(text, lambda text: read_request(re.sub(pattern, instead, text)))

    with pytest.raises((AssertionError, h11.RemoteProtocolError)):
        check()
