"""Chunked bodies: the same content however the stream is cut, nothing beyond the end, and h11 as a second opinion.

We refuse more than h11, on purpose: sizes of more than 15 digits, control characters in extensions, folded and lone-LF
trailers, and lines and trailers of more than 8 KiB. In one thing h11 refuses more: RFC 9112, section 7.1.1 has
recipients take a space before the semicolon of an extension.
"""

from __future__ import annotations

import re
from typing import Protocol

import h11
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from changeover.http1.chunked import MAX_LINE, BadChunk, Chunks
from changeover.http1.uniform_chunks import uniform_chunks

Read = tuple[bytes, int, bool]
"""Content, how much of the stream is the body, whether that has ended."""

often = settings(max_examples=3 * settings().max_examples)


def read(stream: bytes, *cuts: int) -> Read:
    """The content, how much of the stream is the body, whether that has ended; fed in pieces. Raises BadChunk."""
    chunks, content, used = Chunks(), b"", 0
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(stream)], strict=True):
        pieces, count = chunks.feed(stream[begin:end])
        content += b"".join(pieces)
        used += count
        assert chunks.ended or count == end - begin
    return content, used, chunks.ended


def read_around(stream: bytes) -> bytes:
    """The content, most of which goes past the decoder."""
    chunks, content, place = Chunks(), b"", 0
    while not chunks.ended:
        if chunks.left:
            content += stream[place : place + chunks.left]
            place += chunks.left
            chunks.skip(chunks.left)
        pieces, count = chunks.feed(stream[place : place + 1])
        content += b"".join(pieces)
        place += count
    return content


def read_uniform(stream: bytes, at_once: int) -> Read:
    """As `read`; wherever it can be, in the places that chunks which are spelled alike have."""
    chunks, content, place = Chunks(), b"", 0
    while place < len(stream) and not chunks.ended:
        data = stream[place : place + at_once]
        if left := chunks.left:
            places = uniform_chunks(chunks.size, chunks.between)
            room = places.room(left)
            room[: len(data)] = data[: len(room)]
            data = data[: len(room)]
            if (got := places.take(chunks, len(data))) is not None:
                content += got
                place += len(data)
                continue
            assert places.undecoded(left, len(data)) == data
        pieces, used = chunks.feed(data)
        content += b"".join(pieces)
        place += used
    return content, place, chunks.ended


def test_a_body_is_read_up_to_its_end_and_no_further() -> None:
    body = b"5;a=b\r\nhello\r\n00A \r\n, world!!!\r\n0\r\nX: y\r\n\r\n"
    assert read(body + b"GET / HTTP/1.1\r\n\r\n") == (b"hello, world!!!", len(body), True)
    assert read(body) == (b"hello, world!!!", len(body), True)
    assert read_around(body) == b"hello, world!!!"


def test_after_the_end_nothing_is_used() -> None:
    chunks = Chunks()
    assert chunks.feed(b"0\r\n\r\n") == ([], 5)
    assert chunks.feed(b"5\r\nhello\r\n") == ([], 0)


CONTENT = (b"\r\n5\r\n", b"abcde", b"\n5\r\na", b"ABCDE", b"0123456789abcdef", b"fghij", b"klmno")


def test_equal_chunks_in_a_row_are_the_same_content_wherever_the_stream_is_cut() -> None:
    stream = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in CONTENT) + b"0\r\n\r\n"
    for first in range(len(stream)):
        for second in range(first, len(stream), 7):
            assert read(stream, first, second) == (b"".join(CONTENT), len(stream), True)
        assert read_uniform(stream, first + 1) == (b"".join(CONTENT), len(stream), True)


def test_the_line_of_the_last_chunk_is_repeated_with_its_extension() -> None:
    stream = b"3;a=b\r\nabc\r\n3;a=b\r\ndef\r\n3\r\nghi\r\n0\r\n\r\n"
    assert read(stream) == (b"abcdefghi", len(stream), True)


BAD = {
    "no size": b"\r\nhello",
    "a size with a sign": b"+5\r\nhello\r\n",
    "a size with a prefix": b"0x5\r\nhello\r\n",
    "a size with an underscore": b"1_0\r\n",
    "a space before the size": b" 5\r\nhello\r\n",
    "a size of too many digits": b"0" * 15 + b"5\r\nhello\r\n",
    "a lone LF after the size": b"5\nhello\r\n",
    "a lone LF in an extension": b"5;\nhello\r\n",
    "a lone CR in an extension": b"5;a\rb\r\nhello\r\n",
    "a NUL in an extension": b"5;\0\r\nhello\r\n",
    "something else than an extension": b"5 6\r\nhello\r\n",
    "a chunk that is longer than it says": b"5\r\nhello!\r\n",
    "a chunk that ends with a lone LF": b"5\r\nhello\n",
    "a chunk that is longer than it says among equal ones": b"3\r\nabc\r\n3\r\ndefg\r\n3\r\nhij\r\n",
    "a chunk that ends with a lone LF among equal ones": b"3\r\nabc\r\n3\r\ndef\n3\r\nghi\r\n",
    "a lone LF after the last size": b"0\n\r\n",
    "a lone LF at the end": b"0\r\n\n",
    "a trailer that is no field": b"0\r\nX\r\n\r\n",
    "a trailer with a space before the colon": b"0\r\nX : y\r\n\r\n",
    "a trailer that is folded": b"0\r\nX: y\r\n z\r\n\r\n",
    "a line that does not end": b"5;" + b"a" * MAX_LINE,
    "a line that is too long": b"5;" + b"a" * MAX_LINE + b"\r\n",
    "trailers that do not end": b"0\r\n" + b"X: y\r\n" * MAX_LINE,
}


@pytest.mark.parametrize("stream", BAD.values(), ids=BAD)
def test_what_is_not_chunked_as_it_should_be_is_refused_however_it_is_cut(stream: bytes) -> None:
    with pytest.raises(BadChunk):
        read(stream)
    with pytest.raises(BadChunk):
        read(stream, *range(len(stream)))
    for at_once in (3, 10, len(stream)):
        with pytest.raises(BadChunk):
            read_uniform(stream, at_once)


extensions = st.sampled_from([b"", b"", b";a", b";a=b", b' ;a="\t"', b" "])
runs = st.lists(st.tuples(st.binary(min_size=1, max_size=20), extensions, st.integers(1, 3)), max_size=4)
"""Chunks, and how often each comes in a row: those that are spelled alike are taken in another way."""
trailers = st.sampled_from([b"", b"", b"X: y\r\n", b"X:\r\nY: \xff\r\n"])


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, bytes]:
    chunks = [(content, more) for content, more, times in draw(runs) for _ in range(times)]
    text = b"".join(b"%x%b\r\n%b\r\n" % (len(content), more, content) for content, more in chunks)
    whole = b"".join(content for content, _ in chunks)
    return whole, text + b"0" + draw(extensions) + b"\r\n" + draw(trailers) + b"\r\n"


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """A body, what follows it, and up to two places where something else stands than should."""
    _, text = draw(bodies())
    text += draw(st.binary(max_size=5))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(text)))
        other = draw(st.sampled_from([b"", b"\r", b"\n", b"\r\n", b" ", b";", b"0", b"f", b"\0", b":"]))
        text = text[:place] + other + text[place + draw(st.integers(0, 2)) :]
    return text


@often
@given(bodies(), st.binary(max_size=9), st.data())
def test_the_content_is_the_same_for_every_cut(body: tuple[bytes, bytes], after: bytes, data: st.DataObject) -> None:
    content, text = body
    cuts = data.draw(st.lists(st.integers(0, len(text + after)), max_size=6))
    assert read(text + after, *cuts) == (content, len(text), True)
    assert read(text + after, *range(len(text + after))) == (content, len(text), True)
    assert read_around(text) == content
    assert read_uniform(text + after, data.draw(st.integers(1, 40))) == (content, len(text), True)


def test_more_chunks_than_have_a_place_are_the_same_content() -> None:
    content = bytes(range(251)) * 40
    for size in (1, 7, 1000):
        pieces = [content[place : place + size] for place in range(0, len(content), size)]
        text = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        assert read_uniform(text, len(text)) == (content, len(text), True)


class Outcome(Protocol):
    """What a reader makes of a stream: content, length, whether it ended; None where it refuses the stream."""

    def __call__(self, stream: bytes, *cuts: int, at_once: int = 0) -> Read | None: ...


def outcome(stream: bytes, *cuts: int, at_once: int = 0) -> Read | None:
    try:
        return read_uniform(stream, at_once) if at_once else read(stream, *cuts)
    except BadChunk:
        return None


def agree(stream: bytes, outcome: Outcome = outcome) -> None:
    """What we take for a whole body, h11 takes too, with the same content and the same rest; what it refuses, so do we,
    or we wait for more."""
    ours = outcome(stream)
    assert outcome(stream, *range(len(stream))) == ours
    assert all(outcome(stream, at_once=size) == ours for size in (1, 11, 1000))
    if ours is None or re.search(rb"[ \t];", stream):
        return
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + stream)
    connection.next_event()
    theirs = b""
    try:
        while isinstance(event := connection.next_event(), h11.Data):
            theirs += event.data
    except h11.RemoteProtocolError:
        assert not ours[2]
        return
    assert ours[0] == theirs
    assert ours[2] is isinstance(event, h11.EndOfMessage)
    if ours[2]:
        assert stream[ours[1] :] == connection.trailing_data[0]


@often
@given(streams())
def test_whatever_body_is_accepted_h11_reads_alike(stream: bytes) -> None:
    agree(stream)


def test_a_reader_that_skips_a_byte_before_the_first_size_is_found_out() -> None:
    def lax(stream: bytes, *cuts: int, at_once: int = 0) -> Read | None:
        if (strict := outcome(stream, *cuts, at_once=at_once)) is not None:
            return strict
        skipped = outcome(stream[1:])
        return None if skipped is None else (skipped[0], skipped[1] + 1, skipped[2])

    @settings(often, max_examples=4000, phases=[Phase.generate], database=None, report_multiple_bugs=False)
    @given(streams())
    def check(stream: bytes) -> None:
        agree(stream, lax)

    with pytest.raises(AssertionError):
        check()
