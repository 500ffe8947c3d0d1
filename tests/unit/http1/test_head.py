"""Heads: what is read, what is refused and with which status. test_head_against_h11.py asks h11, too.

The room refuses more than h11 on purpose, and reads one thing in another way, as RFC 9112, section 3.2.2 asks of every
recipient that is no forward proxy: the authority of a target in absolute form is the Host.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.http1 import head as heads
from changeover.http1.head import BadHead, RequestHead, ResponseHead, read_request, read_response


def request(*lines: bytes, start: bytes = b"POST /up HTTP/1.1", host: bytes = b"Host: a\r\n") -> RequestHead:
    return read_request(start + b"\r\n" + host + b"".join(line + b"\r\n" for line in lines) + b"\r\n")


def response(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK", method: bytes = b"GET") -> ResponseHead:
    return read_response(start + b"\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n", method)


# -- requests ----------------------------------------------------------------------------------------------------------


def test_a_request_is_read() -> None:
    head = read_request(b"PUT /a/b?c=d HTTP/1.1\r\nHost: h:80\r\nContent-Length: 5\r\nX-A: b \t\r\nx-a:c\r\n\r\n")
    assert (head.method, head.target, head.path) == (b"PUT", b"/a/b?c=d", b"/a/b")
    assert (head.length, head.chunked, head.has_body, head.keep_alive, head.expects) == (5, False, True, True, False)
    assert head.fields == {b"host": b"h:80", b"content-length": b"5", b"x-a": b"b, c"}


REFUSED = {
    "two lengths that differ (RFC 9112, 6.3)": (b"Content-Length: 5\r\nContent-Length: 6", 400),
    "two lengths that agree": (b"Content-Length: 5\r\nContent-Length: 5", 400),
    "a list of lengths": (b"Content-Length: 5, 5", 400),
    "a length with a sign (RFC 9110, 8.6)": (b"Content-Length: +5", 400),
    "a negative length": (b"Content-Length: -5", 400),
    "a hexadecimal length": (b"Content-Length: 0x5", 400),
    "a length with an underscore": (b"Content-Length: 1_0", 400),
    "an empty length": (b"Content-Length:", 400),
    "a length of too many digits": (b"Content-Length: " + b"9" * 19, 400),
    "a length before chunks (RFC 9112, 6.1)": (b"Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
    "a length after chunks": (b"Transfer-Encoding: chunked\r\nContent-Length: 5", 400),
    "another coding first": (b"Transfer-Encoding: gzip, chunked", 400),
    "another coding last (RFC 9112, 6.3)": (b"Transfer-Encoding: chunked, gzip", 400),
    "no coding at all": (b"Transfer-Encoding: identity", 400),
    "chunked twice (RFC 9112, 6.1)": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
    "chunked with a parameter": (b"Transfer-Encoding: chunked;q=1", 400),
    "chunked behind a vertical tab": (b"Transfer-Encoding: \x0bchunked", 400),
    "a space before the colon (RFC 9112, 5.1)": (b"Transfer-Encoding : chunked", 400),
    "a folded line (RFC 9112, 5.2)": (b"X-A: b\r\n c", 400),
    "a first line that is folded": (b" X-A: b", 400),
    "a lone LF (RFC 9112, 2.2)": (b"X-A: b\nX-B: c", 400),
    "a lone CR": (b"X-A: b\rX-B: c", 400),
    "a NUL (RFC 9110, 5.5)": (b"X-A: b\0c", 400),
    "a control character in a value": (b"X-A: b\x01c", 400),
    "DEL in a value": (b"X-A: b\x7f", 400),
    "a control character in a name": (b"X\x01A: b", 400),
    "a name of no characters": (b": b", 400),
    "a name that is not ASCII": (b"X\xe4: b", 400),
    "a line without a colon": (b"X-A", 400),
    "a second Host (RFC 9112, 3.2)": (b"host: a", 400),
}


@pytest.mark.parametrize(("line", "status"), REFUSED.values(), ids=REFUSED)
def test_what_two_servers_could_read_in_two_ways_is_refused(line: bytes, status: int) -> None:
    with pytest.raises(BadHead) as refused:
        request(line)
    assert refused.value.status == status


STARTS = {
    "the preface of HTTP/2 (RFC 9113, 3.4)": (b"PRI * HTTP/2.0", 505),
    "HTTP/0.9": (b"GET /", 400),
    "a version that is not there": (b"GET / HTTP/1.2", 505),
    "another protocol": (b"GET / RTSP/1.0", 400),
    "another protocol with a method of its own": (b"SOURCE / ICE/1.0", 400),
    "CONNECT (RFC 9110, 9.3.6)": (b"CONNECT a:443 HTTP/1.1", 501),
    "a method nobody knows (RFC 9110, 9.1)": (b"BREW / HTTP/1.1", 501),
    "a method in lower case": (b"get / HTTP/1.1", 501),
    "a method that is no token": (b"G@T / HTTP/1.1", 400),
    "two spaces (RFC 9112, 3)": (b"GET  / HTTP/1.1", 400),
    "a tab for a space": (b"GET\t/ HTTP/1.1", 400),
    "a space at the end": (b"GET / HTTP/1.1 ", 400),
    "a space in the target": (b"GET /a b HTTP/1.1", 400),
    "no target": (b"GET HTTP/1.1", 400),
    "a fragment (RFC 9112, 3.2)": (b"GET /a#b HTTP/1.1", 400),
    "a target that is not ASCII": (b"GET /\xe4 HTTP/1.1", 400),
    "a control character in the target": (b"GET /\x01 HTTP/1.1", 400),
    "a target that is no path": (b"GET a HTTP/1.1", 400),
    "an asterisk without OPTIONS (RFC 9112, 3.2.4)": (b"GET * HTTP/1.1", 400),
    "a user in the authority (RFC 9110, 4.2.4)": (b"GET http://u@a/ HTTP/1.1", 400),
    "an authority of nothing": (b"GET http:///a HTTP/1.1", 400),
    "an empty line before it, which is not its own": (b"\r\nGET / HTTP/1.1", 400),
}


@pytest.mark.parametrize(("start", "status"), STARTS.values(), ids=STARTS)
def test_a_line_that_asks_for_nothing_here_is_refused(start: bytes, status: int) -> None:
    with pytest.raises(BadHead) as refused:
        request(start=start)
    assert refused.value.status == status


@pytest.mark.parametrize(
    "host", [b"", b"Host: a b\r\n", b"Host: a/b\r\n", b"Host: u@a\r\n", b"Host: a:b\r\n", b"Host: [a\r\n"]
)
def test_a_request_needs_one_host_that_is_one(host: bytes) -> None:
    with pytest.raises(BadHead, match="Host"):
        request(host=host)


@pytest.mark.parametrize("host", [b"", b"a", b"a_b.example:8080", b"127.0.0.1:1", b"[::1]:80", b"%C3%A4"])
def test_hosts_of_every_kind_are_taken(host: bytes) -> None:
    assert request(host=b"Host: " + host + b"\r\n").fields[b"host"] == host


def test_a_request_of_http_1_0_without_a_host_has_an_empty_one_afterwards() -> None:
    head = request(start=b"OPTIONS / HTTP/1.0", host=b"")  # RFC 9112, section 3.2: HTTP/1.1 is not sent without it
    assert heads.format_request(head.method, head.target, head.headers) == b"OPTIONS / HTTP/1.1\r\nHost: \r\n\r\n"


@pytest.mark.parametrize(
    ("target", "path"),
    [(b"http://b:1/c?d", b"/c?d"), (b"HTTP://b:1", b"/"), (b"https://b:1?d", b"/?d"), (b"http://b:1//c", b"//c")],
)
def test_the_authority_of_an_absolute_target_takes_the_place_of_host(target: bytes, path: bytes) -> None:
    head = request(start=b"GET " + target + b" HTTP/1.1")
    assert (head.target, head.headers) == (path, [(b"Host", b"b:1")])


def test_the_whole_server_can_be_asked_for_its_options() -> None:
    assert request(start=b"OPTIONS * HTTP/1.1").target == b"*"


def test_a_head_that_is_too_long_is_refused() -> None:
    room = heads.MAX_HEAD - len(b"POST /up HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n")
    assert request(b"X: " + b"b" * room).fields[b"x"] == b"b" * room
    with pytest.raises(BadHead) as refused:  # RFC 6585, section 5
        request(b"X: " + b"b" * (room + 1))
    assert refused.value.status == 431


def test_http_1_0_knows_no_chunks() -> None:  # RFC 9112, section 6.1
    with pytest.raises(BadHead):
        request(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.0")


def test_chunks_are_recognised_however_they_are_spelt() -> None:
    head = request(b"transfer-encoding: \tChunked ")
    assert (head.chunked, head.length, head.has_body) == (True, None, True)


def test_a_request_without_framing_has_no_body() -> None:  # RFC 9112, section 6.3
    head = request()
    assert (head.length, head.chunked, head.has_body) == (0, False, False)


def test_a_change_of_protocol_is_not_followed() -> None:  # RFC 9110, section 7.8
    head = request(b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 3")
    assert (head.length, head.passed_on()) == (3, [(b"Host", b"a"), (b"Content-Length", b"3")])


@pytest.mark.parametrize(
    ("version", "value", "expects"),
    [
        (b"1.1", b"100-continue", True),
        (b"1.1", b"100-Continue", True),
        (b"1.0", b"100-continue", False),
        (b"1.1", b"x", False),
    ],
)
def test_only_http_1_1_waits_for_100(version: bytes, value: bytes, expects: bool) -> None:  # RFC 9110, section 10.1.1
    assert request(b"Expect: " + value, start=b"POST / HTTP/" + version).expects is expects


@pytest.mark.parametrize(
    ("version", "connection", "keeps"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"close", False),
        (b"1.1", b"x, Close", False),
        (b"1.0", b"", False),
        (b"1.0", b"Keep-Alive", True),
        (b"1.0", b"keep-alive, close", False),
    ],
)
def test_connections_persist_as_their_version_and_options_say(version: bytes, connection: bytes, keeps: bool) -> None:
    told = b"Connection: " + connection  # RFC 9112, section 9.3
    assert request(told, start=b"GET / HTTP/" + version).keep_alive is keeps
    assert response(told, b"Content-Length: 0", start=b"HTTP/" + version + b" 200 OK").keep_alive is keeps


# -- what is passed on -------------------------------------------------------------------------------------------------


def test_fields_for_this_hop_are_not_passed_on() -> None:  # RFC 9110, section 7.6.1
    head = request(
        b"Connection: X-Mine, close", b"x-mine: 1", b"Keep-Alive: 5", b"TE: trailers", b"Trailer: X", b"X-Theirs: 2"
    )
    assert head.passed_on() == [(b"Host", b"a"), (b"X-Theirs", b"2")]
    assert head.passed_on(frozenset({b"x-theirs"})) == [(b"Host", b"a")]


def test_no_connection_takes_away_what_frames_or_directs_a_message() -> None:
    named = b"Connection: Host, Content-Length"
    assert dict(request(named, b"Content-Length: 5").passed_on()) == {b"Host": b"a", b"Content-Length": b"5"}
    assert response(named, b"Content-Length: 5").passed_on() == [(b"Content-Length", b"5")]


# -- responses ---------------------------------------------------------------------------------------------------------

LENGTH, CHUNKS = b"Content-Length: 5", b"Transfer-Encoding: chunked"
FRAMINGS = {
    "by its length": (b"GET", b"1.1 200", [LENGTH], (5, False, False)),
    "by chunks": (b"GET", b"1.1 200", [CHUNKS], (None, True, False)),
    "until the connection closes": (b"GET", b"1.1 200", [], (None, False, True)),
    "to HEAD": (b"HEAD", b"1.1 200", [LENGTH], (0, False, False)),
    "to HEAD, in chunks": (b"HEAD", b"1.1 200", [CHUNKS], (0, False, False)),
    "204": (b"GET", b"1.1 204", [], (0, False, False)),
    "304, with the length it would have": (b"GET", b"1.1 304", [LENGTH], (0, False, False)),
    "103": (b"GET", b"1.1 103", [], (0, False, False)),
}


@pytest.mark.parametrize(("method", "status", "lines", "framing"), FRAMINGS.values(), ids=FRAMINGS)
def test_answers_are_framed(
    method: bytes, status: bytes, lines: list[bytes], framing: tuple[int | None, bool, bool]
) -> None:  # RFC 9112, section 6.3
    head = response(*lines, start=b"HTTP/" + status + b" Fine", method=method)
    assert (head.length, head.chunked, head.until_close) == framing
    assert head.keep_alive is not head.until_close


def test_a_length_where_there_is_no_content_is_not_passed_on() -> None:
    assert response(LENGTH, start=b"HTTP/1.1 204 Gone by").passed_on() == []  # RFC 9110, section 8.6
    assert response(LENGTH, start=b"HTTP/1.1 304 Same").passed_on() == [(b"Content-Length", b"5")]


@pytest.mark.parametrize(
    ("start", "lines"),
    [
        (b"HTTP/1.1 200 OK", [LENGTH, CHUNKS]),
        (b"HTTP/1.1 200 OK", [LENGTH, b"Content-Length: 6"]),
        (b"HTTP/1.1 204 OK", [LENGTH, CHUNKS]),
        (b"HTTP/1.1 200 OK", [b"Transfer-Encoding: gzip"]),
        (b"HTTP/1.0 200 OK", [CHUNKS]),
        (b"HTTP/1.1 200 OK", [b"A: b\r\n c"]),
        (b"HTTP/1.1 200 OK", [b"A: b\nB: c"]),
        (b"HTTP/1.1 200 O\x01K", []),
        (b"HTTP/1.1 200 O\rK", []),
        (b"HTTP/1.1 101 Other", [b"Connection: upgrade", b"Upgrade: x"]),
        (b"HTTP/1.1 101 Other", []),
        (b"HTTP/1.1 099 Early", []),
        (b"HTTP/1.1 1000 Late", []),
        (b"HTTP/1.1  200 OK", []),
        (b"HTTP/2.0 200 OK", []),
        (b"RTSP/1.0 200 OK", []),
        (b"\r\nHTTP/1.1 200 OK", []),
        (b"SSH-2.0-OpenSSH", []),
        (b"HTTP/1.1 200 OK", [b"A: " + b"b" * heads.MAX_HEAD]),
    ],
)
def test_answers_that_are_none_or_ambiguous_are_the_gateways_502(start: bytes, lines: list[bytes]) -> None:
    with pytest.raises(BadHead) as refused:
        response(*lines, start=start)
    assert refused.value.status == 502


@pytest.mark.parametrize("start", [b"HTTP/1.1 200", b"HTTP/1.1 200 "])
def test_a_reason_may_be_missing_and_is_then_the_usual_one(start: bytes) -> None:
    head = response(start=start)
    assert heads.format_response(head.status, head.reason, []) == b"HTTP/1.1 200 OK\r\n\r\n"
    assert heads.format_response(799, b"", []) == b"HTTP/1.1 799 -\r\n\r\n"


# -- what is spelt -----------------------------------------------------------------------------------------------------

names = st.from_regex(rb"[Xx]-[!#$%&'*+.^_`|~0-9A-Za-z-]{0,8}", fullmatch=True)
values = st.from_regex(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]{0,10}[!-~\x80-\xff])?)?", fullmatch=True)
fields = st.lists(st.tuples(names, values), max_size=5)


@given(st.sampled_from([b"GET", b"POST", b"M-SEARCH"]), st.from_regex(rb"/[a-z/?=%]*", fullmatch=True), fields)
def test_what_is_spelt_is_read_the_same(method: bytes, target: bytes, headers: list[heads.Field]) -> None:
    asked = read_request(heads.format_request(method, target, [(b"Host", b"a"), *headers]))
    assert (asked.method, asked.target, asked.headers) == (method, target, [(b"Host", b"a"), *headers])
    told = read_response(heads.format_response(203, b"So be it", headers), method)
    assert (told.status, told.reason, told.headers) == (203, b"So be it", headers)


@given(st.binary(max_size=12), st.sampled_from([b"\r\n", b"\n", b"\r", b"\0", b"\r\n "]), st.binary(max_size=12))
def test_no_value_and_no_target_can_add_a_line(before: bytes, end: bytes, after: bytes) -> None:
    text = before + end + after
    for headers in [(b"X", text)], [(text, b"x")]:
        with pytest.raises(BadHead):
            heads.format_request(b"GET", b"/", headers)
        with pytest.raises(BadHead):
            heads.format_response(200, b"OK", headers)
    with pytest.raises(BadHead):
        heads.format_request(b"GET", b"/" + text, [])


@pytest.mark.parametrize("target", [b"", b"/a b", b"/a HTTP/1.1\r\nX: y", b"/a#b", b"/\xe4"])
def test_a_target_that_would_be_read_as_something_else_is_not_spelt(target: bytes) -> None:
    with pytest.raises(BadHead):
        heads.format_request(b"PATCH", target, [])
