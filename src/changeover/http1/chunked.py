"""Chunked bodies (RFC 9112, section 7.1): finds the content in a stream, however the stream is cut.

The content of a long chunk may bypass this decoder: `left` is the number of its bytes that come next, and `skip`
reports that they were taken. Trailers and extensions are checked and dropped, which a recipient may do (sections 6.5
and 7.1.1): a trailer never becomes a header. Refuses every framing that two servers could read in two ways.
"""

from __future__ import annotations

import re
from enum import Enum, auto

MAX_LINE = 8 * 1024
"""Bytes of one line with its extensions, and of all trailers."""
SIZES = 16
"""Size lines that are remembered."""

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\0-\x08\x0a-\x1f\x7f]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\0-\x08\x0a-\x1f\x7f]*")


class BadChunk(ValueError):
    """Malformed chunks."""


class _At(Enum):
    SIZE = auto()
    CONTENT = auto()
    END_OF_CHUNK = auto()
    TRAILERS = auto()
    END = auto()


class Chunks:
    """One body."""

    def __init__(self) -> None:
        self.left = 0
        """Bytes of content that come next."""
        self.size = 0
        """Bytes of the last chunk."""
        self.between = b""
        """The bytes between its content and that of the next chunk, if that has the same size line."""
        self.uniform = 0
        """Chunks in a row with the same size line."""
        self._at = _At.SIZE
        self._line = b""
        """The beginning of a line whose end has not arrived."""
        self._trailers = 0
        self._sizes: dict[bytes, int] = {}
        """Size lines and their sizes: nearly every chunk of a body has the same one."""

    @property
    def ended(self) -> bool:
        return self._at is _At.END

    def skip(self, size: int) -> None:
        """That many bytes of `left` bypassed the decoder."""
        self.left -= size
        if not self.left:
            self._at = _At.END_OF_CHUNK

    def skip_uniform(self, left: int) -> None:
        """This chunk and more chunks like it bypassed the decoder, the last of them but for `left` bytes."""
        self.left = left
        self.skip(0)

    def feed(self, data: bytes) -> tuple[list[memoryview], int]:
        """The content among these bytes, and how many of them belong to the body.

        Raises BadChunk.
        """
        view, place, content = memoryview(data), 0, list[memoryview]()
        while place < len(data) and self._at is not _At.END:
            if self._at is _At.CONTENT:
                piece = view[place : place + self.left]
                content.append(piece)
                place += len(piece)
                self.skip(len(piece))
                continue
            if self._at is _At.SIZE and not self._line:
                place = self._take_small(data, view, place, content)
                if place == len(data):
                    break
            end = data.find(b"\n", place)
            if end < 0:
                self._line += data[place:]
                place = len(data)
                if len(self._line) > MAX_LINE:
                    raise BadChunk("a line is too long")
                break
            line, self._line = self._line + data[place : end + 1], b""
            place = end + 1
            if not line.endswith(b"\r\n") or len(line) > MAX_LINE:
                raise BadChunk("a line does not end with CRLF, or is too long")
            self._take(line[:-2])
        return content, place

    def _take_small(self, data: bytes, view: memoryview, place: int, content: list[memoryview]) -> int:
        """Take the chunks that are here whole; returns the place after them. Only for speed."""
        find, sizes, end_of_data = data.find, self._sizes, len(data) - 2
        while (end := find(b"\r\n", place, place + 18)) > 0:
            size = sizes.get(line := data[place:end], 0)
            if not size:
                found = _SIZE.fullmatch(line)
                size = 0 if found is None else int(found[1], 16)
                if not size:
                    break
                if len(sizes) < SIZES:
                    sizes[line] = size
            stop = end + 2 + size
            between = self._begin(size, line)
            gap, first = len(between) + size, stop
            while stop + gap <= end_of_data and data.startswith(between, stop):  # one more of that size
                content.append(view[stop - size : stop])
                place = stop + 2
                stop += gap
            self.uniform += (stop - first) // gap
            if stop > end_of_data or data[stop : stop + 2] != b"\r\n":
                break
            content.append(view[stop - size : stop])
            place = stop + 2
        return place

    def _begin(self, size: int, line: bytes) -> bytes:
        """A chunk begins; returns the bytes between it and one like it."""
        between = b"\r\n%b\r\n" % line
        self.uniform = self.uniform + 1 if between == self.between else 1
        self.size, self.between = size, between
        return between

    def _take(self, line: bytes) -> None:
        match self._at:
            case _At.SIZE:
                if (found := _SIZE.fullmatch(line)) is None:
                    raise BadChunk("the size of a chunk is not a number")
                self.left = int(found[1], 16)
                self._begin(self.left, line)
                self._at = _At.CONTENT if self.left else _At.TRAILERS
            case _At.END_OF_CHUNK:
                if line:
                    raise BadChunk("a chunk is longer than its size says")
                self._at = _At.SIZE
            case _At.TRAILERS if line:
                self._trailers += len(line)
                if _TRAILER.fullmatch(line) is None or self._trailers > MAX_LINE:
                    raise BadChunk("the trailers are not fields, or too long")
            case _:
                self._at = _At.END
