"""Streams of requests, cut and mutated: h11 reads them alike, or the difference is a decision that has a name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from tests.unit.http1.reading import (
    CHUNKED,
    MORE_LENIENT,
    STRICTER,
    Reading,
    Seen,
    cuts,
    decisions,
    read,
    read_by_h11,
    streams,
)

often = settings(max_examples=8 * settings().max_examples)


def origin(seen: Seen) -> Seen:
    """As an origin sees it: h11 leaves a target in absolute form as it is (RFC 9112, section 3.2.2)."""
    if (absolute := re.fullmatch(rb"(?i)https?://([^/?]*)(.*)", seen.target)) is None:
        return seen
    path = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
    return Seen(seen.method, path, absolute[1], seen.body)


def agree(stream: bytes, ours: Reading) -> None:
    theirs = read_by_h11(stream)
    expected = [origin(seen) for seen in theirs.requests]
    common = min(len(ours.requests), len(expected))
    assert ours.requests[:common] == expected[:common]
    if len(ours.requests) < len(expected):
        assert decisions(STRICTER, stream[ours.end :]), (ours, theirs)
    elif len(ours.requests) > len(expected) or (theirs.refused and not ours.refused):
        rest = stream[min(ours.end, theirs.end) :]
        assert decisions(MORE_LENIENT, rest) or decisions(MORE_LENIENT, stream), (ours, theirs)


@often
@given(streams(), cuts)
def test_a_stream_of_requests_is_read_as_h11_reads_it_wherever_it_is_cut(stream: bytes, cuts: Sequence[int]) -> None:
    ours = read(stream)
    assert read(stream, cuts) == ours
    agree(stream, ours)


@given(streams())
def test_a_stream_is_read_the_same_byte_by_byte(stream: bytes) -> None:
    assert read(stream, range(len(stream))) == read(stream)


@pytest.mark.parametrize("name", STRICTER)
def test_every_decision_to_be_stricter_has_an_example(name: str) -> None:
    _, stream = STRICTER[name]
    assert name in decisions(STRICTER, stream)
    assert (read(stream).requests, len(read_by_h11(stream).requests)) == ([], 1)
    assert read(stream).refused >= 400


@pytest.mark.parametrize("name", MORE_LENIENT)
def test_every_decision_to_be_more_lenient_has_an_example(name: str) -> None:
    _, stream = MORE_LENIENT[name]
    assert name in decisions(MORE_LENIENT, stream)
    assert len(read(stream).requests) == len(read_by_h11(stream).requests) + 1


@pytest.mark.fuzz
def test_a_reader_that_follows_upgrade_is_found_out() -> None:
    """As receive once did: a chunked body beside `Upgrade` was taken for the new protocol."""
    stream = CHUNKED + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    (seen,) = read(stream).requests
    agree(stream, Reading([seen]))
    with pytest.raises(AssertionError):
        agree(stream, Reading([replace(seen, body=b"")]))
