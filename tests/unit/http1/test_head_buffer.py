"""Where a head ends: the same for every cut, and at a cost that grows with its bytes alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.http1.head import MAX_HEAD, BadHead
from changeover.http1.head_buffer import HeadBuffer

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def heads(stream: bytes, *cuts: int) -> tuple[list[bytes], bytes]:
    """The heads of a stream, added in pieces, and what follows them."""
    buffer, found = HeadBuffer(), list[bytes]()
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(stream)], strict=True):
        buffer.add(stream[begin:end])
        while (head := buffer.head()) is not None:
            found.append(head)
    return found, buffer.take_rest()


@given(st.lists(st.integers(0, 70), max_size=8))
def test_heads_that_follow_at_once_are_found_however_they_are_cut(cuts: list[int]) -> None:
    stream = HEAD + b"\r\n\r\n" + HEAD + b"POST / HT"
    assert heads(stream, *(min(cut, len(stream)) for cut in cuts)) == ([HEAD, HEAD], b"POST / HT")


def test_what_follows_a_head_is_taken_as_it_is() -> None:
    buffer = HeadBuffer()
    buffer.add(HEAD + b"\r\nbody")
    assert (buffer.head(), buffer.take_rest(), buffer.begun) == (HEAD, b"\r\nbody", False)


def test_empty_lines_before_a_head_are_no_part_of_one() -> None:
    buffer = HeadBuffer()
    buffer.add(b"\r\n\r\n")
    assert (buffer.head(), buffer.begun) == (None, False)
    buffer.add(b"\r")
    assert buffer.head() is None
    buffer.add(b"\nG")
    assert (buffer.head(), buffer.begun) == (None, True)


@pytest.mark.parametrize("first", [b"\n", b"\r\r", b" ", b"\x16\x03\x01", b"\0", b":"])
def test_a_byte_that_begins_no_head_is_refused_at_once(first: bytes) -> None:
    with pytest.raises(BadHead) as refused:
        heads(first)
    assert refused.value.status == 400


@pytest.mark.parametrize("stream", [b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEAD, b"\r\n" * MAX_HEAD])
def test_a_head_that_does_not_end_is_refused_at_its_bound(stream: bytes) -> None:
    with pytest.raises(BadHead) as refused:
        heads(stream)
    assert refused.value.status == 431
    with pytest.raises(BadHead):
        heads(stream, *range(0, len(stream), 100))


def test_a_head_of_just_the_bound_is_taken() -> None:
    head = b"GET / HTTP/1.1\r\nX: " + b"x" * (MAX_HEAD - 23) + b"\r\n\r\n"
    assert len(head) == MAX_HEAD
    assert heads(head, *range(0, MAX_HEAD, 1000)) == ([head], b"")
