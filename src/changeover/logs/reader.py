"""The lines of one log file, while it is written to, emptied and replaced. Refuses to hold more than a block of it.

The keeper copies the end of a large log to `log.1` and empties the log (`platforms/local/logs.py`). The reader finds
its place in `log.1` by the last bytes that it read, so that it misses no line.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

BLOCK = 65_536
"""Bytes of one read."""
LONGEST = 65_536
"""Bytes of a line. The rest of a longer one is left out."""
_RECENT = 4096
"""Bytes by which the reader finds its place again."""
_ENOUGH = 16
"""Bytes that do not stand at the beginning of the predecessor by chance."""


class LogReader:
    """Reads on from where it was. A file that does not exist yet has no lines."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._file: BinaryIO | None = None
        self._recent = self._begun = b""
        self._end = 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def lines(self, *, to_the_end: bool) -> Iterator[tuple[str, int]]:
        """The lines since the last call, each with the place of its end in the file; 0 for one that stands in `log.1`.

        `to_the_end`: the last one too, though it has no end yet. Bytes that are no UTF-8 are replaced. Raises OSError.
        """
        for block, end in self._blocks():
            self._end = end
            *whole, rest = block.split(b"\n")
            before = end - len(block)
            for line in whole:
                before += len(line) + 1
                yield _text(self._begun + line), before if end else 0
                self._begun = b""
            self._begun = (self._begun + rest)[: LONGEST + 1]
        if to_the_end and self._begun:
            yield _text(self._begun), self._end
            self._begun = b""

    def _blocks(self) -> Iterator[tuple[bytes, int]]:
        """Each with the place of its end; 0 in `log.1`."""
        if self._file is None:
            try:
                self._file = self._log.open("rb")
            except FileNotFoundError:
                return
            yield from ((block, 0) for block in self._moved(b""))
        while True:
            while block := self._file.read(BLOCK):
                self._recent = (self._recent + block)[-_RECENT:]
                yield block, self._file.seek(0, os.SEEK_CUR)
            if os.fstat(self._file.fileno()).st_size < self._file.seek(0, os.SEEK_CUR):
                yield from ((block, 0) for block in self._moved(self._recent))
                self._file.seek(0)
            elif self._is_replaced():
                self._file.close()
                self._file = self._log.open("rb")
            else:
                return
            self._recent = b""

    def _moved(self, after: bytes) -> Iterator[bytes]:
        """What `log.1` has after these bytes; all of it where it does not have them."""
        with contextlib.suppress(FileNotFoundError), self._log.with_name(f"{self._log.name}.1").open("rb") as old:
            if not os.fstat(old.fileno()).st_size:
                return
            if after:
                with mmap.mmap(old.fileno(), 0, access=mmap.ACCESS_READ) as whole:
                    old.seek(_end_of(after, whole))
            while block := old.read(BLOCK):
                yield block

    def _is_replaced(self) -> bool:
        assert self._file is not None
        try:
            now = self._log.stat()
        except FileNotFoundError:
            return False
        return not os.path.samestat(now, os.fstat(self._file.fileno()))


def _end_of(known: bytes, whole: mmap.mmap) -> int:
    """Where the known bytes end; they may begin before the whole does. 0: it does not have them."""
    if (found := whole.rfind(known)) >= 0:
        return found + len(known)
    head = whole[: len(known)]
    return next((size for size in range(len(head), _ENOUGH, -1) if head.startswith(known[-size:])), 0)


def _text(line: bytes) -> str:
    more = " [...]" if len(line) > LONGEST else ""
    return line[:LONGEST].rstrip(b"\r").decode(errors="replace") + more
