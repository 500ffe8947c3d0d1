"""The port that every store implements, and the errors that it raises.

For each upload a store keeps one small record, which changes by compare-and-swap only, and any number of segments, each
written by one writer. Refuses to know of protocols, offsets and holders.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

RecordVersion = str
"""Names one state of a record. Only the store that issued it can interpret it."""


@dataclass(frozen=True)
class Segment:
    """A run of bytes in a store."""

    name: str
    """Unique within the upload."""
    size: int
    """Bytes."""


class RecordMissing(Exception):
    """The store has no upload of that id."""


class RecordChanged(Exception):
    """Another process changed or created the record first.

    The caller's write did not happen, or other processes have continued from it already. `read` shows which.
    """


class StoreUnavailable(Exception):
    """The store cannot do it now; the text gives the reason. Acknowledged bytes are still there."""

    def __init__(self, reason: str, *, full: bool = False) -> None:
        super().__init__(reason)
        self.full = full
        """Whether the store has no room left: a retry does not help."""


class SegmentWriter(Protocol):
    """Appends to segments that no other writer uses. After an exception only `close` may be called."""

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Take bytes. The caller may reuse the buffer afterwards. Raises StoreUnavailable."""

    async def commit(self) -> Sequence[Segment]:
        """Make durable all bytes written before the call; bytes written during the call may be left out.

        Returns the segments that are new or longer since the last commit, in order. Raises StoreUnavailable.
        """

    def close(self) -> None:
        """Release resources. Uncommitted bytes are deleted."""


class Store(Protocol):
    """One place for uploads, shared by all instances. Every method may raise StoreUnavailable."""

    @property
    def segment(self) -> int:
        """Bytes after which a commit is worth its cost: requests to a service, or memory held."""

    async def create(self, id: str, record: bytes) -> RecordVersion:
        """Write the first record durably. Raises RecordChanged if the upload has a record."""

    async def read(self, id: str) -> tuple[bytes, RecordVersion]:
        """The newest record. Raises RecordMissing."""

    async def swap(self, id: str, record: bytes, version: RecordVersion) -> RecordVersion:
        """Replace the record durably if it still has that version. Raises RecordChanged, RecordMissing."""

    async def drop(self, id: str) -> None:
        """Delete the upload with all its bytes. An absent upload is no error."""

    async def age(self, id: str) -> float:
        """Seconds since the record was last written, by the store's own clock. Raises RecordMissing."""

    def ids(self) -> AsyncIterator[str]:
        """The id of every upload, in no particular order."""

    def writer(self, id: str, name: str) -> SegmentWriter:
        """Begin segments whose names start with `name`, which must be new. The record must exist."""

    async def stored(self, id: str) -> Sequence[Segment]:
        """Every segment that the store has of an upload, with its size there, whether or not a record names it."""

    async def trim(self, id: str, segments: Sequence[Segment]) -> None:
        """Shorten each of these segments to its `size` here; 0 deletes it. An absent segment is no error."""

    def pieces(self, id: str, segments: Sequence[Segment], start: int = 0) -> AsyncIterator[bytes]:
        """The bytes of these segments in order, from byte `start` on, in pieces of at most 1 MiB."""
