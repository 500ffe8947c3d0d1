"""Chunks of one size in a row, as most clients send them, at a fraction of the cost of decoding each line.

The bytes go to a buffer in which every content and every line between two contents has a fixed place, if the chunks go
on as before. All lines are then compared at once, and the contents are joined. Decides nothing: where a line differs,
the decoder gets all of the bytes.
"""

from __future__ import annotations

from functools import lru_cache

from changeover.http1.chunked import Chunks

BYTES = 512 * 1024
"""Of the buffer; more gains nothing (measured)."""
PLACES = 1024
"""Chunks that the buffer holds."""

_buffer = memoryview(bytearray(BYTES))


class UniformChunks:
    """The places for chunks of `size` bytes, at most half of BYTES. All bodies share one buffer; it keeps no byte."""

    def __init__(self, size: int, between: bytes) -> None:
        self._size = size
        self._cell = cell = size + len(between)
        self._count = count = min(PLACES, BYTES // cell)
        self._contents = [_buffer[place : place + size] for place in range(0, count * cell, cell)]
        self._lines = [_buffer[place + size : place + cell] for place in range(0, count * cell, cell)]
        self._expected = between * count

    def room(self, left: int) -> memoryview:
        """Where to put the next bytes, of which the first are the last `left` ones of a content."""
        return _buffer[self._size - left : self._count * self._cell]

    def take(self, chunks: Chunks, count: int) -> bytes | None:
        """The content among the first `count` bytes; None: a line differs, and the decoder has to take them."""
        begin = self._size - chunks.left
        whole, rest = divmod(begin + count, self._cell)
        last = whole * self._cell
        end = last + min(rest, self._size)
        line = bytes(_buffer[end : last + rest])  # as much of the next one as is here
        if not self._expected.startswith(b"".join((*self._lines[:whole], line))):
            return None
        if whole:
            content = b"".join((_buffer[begin : self._size], *self._contents[1:whole], _buffer[last:end]))
        else:
            content = bytes(_buffer[begin:end])
        chunks.skip_uniform(self._size - (end - last))
        chunks.feed(line)
        return content

    def undecoded(self, left: int, count: int) -> bytes:
        return bytes(self.room(left)[:count])


uniform_chunks = lru_cache(maxsize=4)(UniformChunks)
"""Those of the last sizes are kept."""
