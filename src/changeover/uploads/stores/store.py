"""Where uploads lie: the port that every store implements, and the errors it speaks in.

A store keeps, for every upload, one small record (the manifest) that changes by compare-and-swap alone, and any number
of segments, each written by one writer. It knows nothing of protocols, offsets or holders.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from changeover.uploads.core.manifest import Segment

RecordVersion = str
"""Names one state of a record; opaque to everybody but its store."""


class RecordMissing(Exception):
    """There is no upload of that id."""


class RecordChanged(Exception):
    """The record is no longer at that version, or was there already: somebody else was faster.

    What was to be written did not happen, or others have gone on from it already; `read` tells.
    """


class StoreUnavailable(Exception):
    """The store cannot do it now; the text says why. What was acknowledged before still holds.

    `full`: for want of room, which trying again does not mend.
    """

    def __init__(self, what: str, *, full: bool = False) -> None:
        super().__init__(what)
        self.full = full


class SegmentWriter(Protocol):
    """Appends to segments that nobody else writes to. Not to be used after an exception but for `close`."""

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Take bytes; they may be reused by the caller afterwards. Raises Unavailable."""

    async def commit(self) -> Sequence[Segment]:
        """Make all that was written before the call durable; what is written meanwhile need not be.

        Returns the segments that are new, or longer, since the last commit, in order. Raises Unavailable.
        """

    def close(self) -> None:
        """Let go of what it holds open. What was not committed is as if it had never been written."""


class Store(Protocol):
    """One place for uploads, shared by all instances. Every method may raise Unavailable."""

    @property
    def segment(self) -> int:
        """Bytes after which a commit is worth its cost: of requests to a service, or of memory that they take."""

    async def create(self, id: str, record: bytes) -> RecordVersion:
        """Write the first record, durably. Raises Changed when there is one."""

    async def read(self, id: str) -> tuple[bytes, RecordVersion]:
        """The newest record. Raises Missing."""

    async def swap(self, id: str, record: bytes, version: RecordVersion) -> RecordVersion:
        """Replace the record, durably, if it is still at that version. Raises Changed or Missing."""

    async def drop(self, id: str) -> None:
        """Forget the upload with all its bytes. Dropping what is not there is no error."""

    def ids(self) -> AsyncIterator[str]:
        """Every upload there is, in no order."""

    def writer(self, id: str, name: str) -> SegmentWriter:
        """Begin segments whose names start with `name`; it must be new. The record must exist."""

    def pieces(self, id: str, segments: Sequence[Segment], start: int = 0) -> AsyncIterator[bytes]:
        """The bytes of these segments one after the other, from `start` on, in pieces of at most 1 MiB."""
