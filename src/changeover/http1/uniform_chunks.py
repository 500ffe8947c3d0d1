"""Chunks of one size in a row, which is how nearly everybody sends them, at a fraction of what reading each line costs.

What comes is put where, if it goes on as it did, every content and every line between two of them has its fixed place.
The lines are then compared all at once, and the contents joined. Decides nothing: where a line is another one than
expected, all of it is left to the decoder.
"""

from __future__ import annotations

from functools import lru_cache

from changeover.http1.chunked import Chunks

BYTES = 512 * 1024
"""That are taken at once; more gains nothing (measured)."""
PLACES = 1024
"""Chunks that are taken at once: for less than these, few bytes would be read at a time."""

_buffer = memoryview(bytearray(BYTES))


class UniformChunks:
    """The places. One buffer serves all bodies: nothing stays in it. `size` of a chunk at most a half of BYTES."""

    def __init__(self, size: int, between: bytes) -> None:
        self._size = size
        self._cell = cell = size + len(between)
        self._count = count = min(PLACES, BYTES // cell)
        self._contents = [_buffer[place : place + size] for place in range(0, count * cell, cell)]
        self._lines = [_buffer[place + size : place + cell] for place in range(0, count * cell, cell)]
        self._expected = between * count

    def room(self, left: int) -> memoryview:
        """Where to put what comes, the first bytes of which are the `left` last ones of a content."""
        return _buffer[self._size - left : self._count * self._cell]

    def take(self, chunks: Chunks, count: int) -> bytes | None:
        """The content among as many bytes as were put there; None: ask for them as they came."""
        begin = self._size - chunks.left
        whole, rest = divmod(begin + count, self._cell)
        last = whole * self._cell
        end = last + min(rest, self._size)
        line = bytes(_buffer[end : last + rest])  # as much of the next one as has come
        if not self._expected.startswith(b"".join((*self._lines[:whole], line))):
            return None
        if whole:
            content = b"".join((_buffer[begin : self._size], *self._contents[1:whole], _buffer[last:end]))
        else:
            content = bytes(_buffer[begin:end])
        chunks.skip_uniform(self._size - (end - last))
        chunks.feed(line)
        return content

    def as_it_came(self, left: int, count: int) -> bytes:
        return bytes(self.room(left)[:count])


uniform_chunks = lru_cache(maxsize=4)(UniformChunks)
"""Those that were asked for lately."""
