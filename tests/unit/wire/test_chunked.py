"""Chunks of one size in a row, as most bodies have them, are taken without a look at each line: nothing else changes."""

from __future__ import annotations

import pytest

from changeover.wire.chunked import BadChunk, Chunks

CONTENT = (b"\r\n5\r\n", b"abcde", b"\n5\r\na", b"ABCDE", b"0123456789abcdef", b"fghij", b"klmno")


def framed(*contents: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in contents) + b"0\r\n\r\n"


def read(*pieces: bytes) -> tuple[bytes, bool]:
    chunks, content = Chunks(), b""
    for piece in pieces:
        found, used = chunks.feed(piece)
        assert used == len(piece)
        content += b"".join(found)
    return content, chunks.ended


def test_equal_chunks_in_a_row_are_the_same_content_wherever_the_stream_is_cut() -> None:
    stream = framed(*CONTENT)
    for first in range(len(stream)):
        for second in range(first, len(stream), 7):
            assert read(stream[:first], stream[first:second], stream[second:]) == (b"".join(CONTENT), True)


def test_the_line_of_the_last_chunk_is_repeated_with_its_extension() -> None:
    assert read(b"3;a=b\r\nabc\r\n3;a=b\r\ndef\r\n3\r\nghi\r\n0\r\n\r\n") == (b"abcdefghi", True)


@pytest.mark.parametrize("broken", [b"3\r\nabc\r\n3\r\ndefg\r\n3\r\nhij\r\n", b"3\r\nabc\r\n3\r\ndef\n3\r\nghi\r\n"])
def test_a_chunk_that_is_longer_than_it_says_is_refused_in_the_midst_of_equal_ones(broken: bytes) -> None:
    with pytest.raises(BadChunk):
        Chunks().feed(broken)
