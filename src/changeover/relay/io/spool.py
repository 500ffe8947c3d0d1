"""The sent bytes of a streamed body, kept for another attempt: in memory at first, then in an unnamed file.

All spools of one relay share a bound. Refuses to keep a part of a body: a spool that would pass a bound, or that has no
room on its disk, drops everything it has, and its request is not sent again.
"""

from __future__ import annotations

from collections.abc import Iterator

IN_MEMORY = 1024 * 1024
"""Bytes of a spool before it becomes a file."""
PIECE = 1024 * 1024
"""Bytes that are read at once."""


class SpoolBudget:
    """`most`: bytes of one spool. `total`: of all spools together."""

    def __init__(self, most: int, total: int) -> None:
        self.held = 0
        """Bytes."""
        self.dropped = 0
        """Spools that were dropped, so far."""
        self._most, self._total = most, total

    def admits(self, size: int, more: int) -> bool:
        """Whether a spool of `size` bytes may have `more`."""
        return size + more <= self._most and self.held + more <= self._total


class Spool:
    """The sent bytes of one body."""

    def __init__(self, budget: SpoolBudget) -> None:
        self.is_whole = True
        """Whether every byte that was added is here."""
        self._size = 0
        self._budget = budget
        import tempfile  # with what it needs it takes 2 MB, and few relays have such routes

        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115

    def add(self, data: bytes) -> None:
        if not self.is_whole:
            return
        try:
            if self._budget.admits(self._size, len(data)):
                self._file.write(data)
                self._size += len(data)
                self._budget.held += len(data)
                return
        except OSError:
            pass  # the disk is full
        self.is_whole = False
        self._budget.dropped += 1
        self.close()

    def pieces(self) -> Iterator[bytes]:
        """All of it, read as it is needed. Raises OSError."""
        self._file.seek(0)
        yield from iter(lambda: self._file.read(PIECE), b"")

    def close(self) -> None:
        """Free its memory and its disk space."""
        self._budget.held -= self._size
        self._size = 0
        self._file.close()
