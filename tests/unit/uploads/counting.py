"""A store that counts the bytes that it writes and reads: records, segments and lists."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from changeover.uploads.stores.files import FileStore, FileWriter
from changeover.uploads.stores.store import RecordVersion, Segment


@dataclass
class Cost:
    written: int = 0
    read: int = 0


class Counting(FileStore):
    def __init__(self, root: Path) -> None:
        super().__init__(root, durable=False)
        self.cost = Cost()

    def taken(self) -> Cost:
        """The cost since the last call."""
        cost, self.cost = self.cost, Cost()
        return cost

    async def read(self, id: str) -> tuple[bytes, RecordVersion]:
        record, version = await super().read(id)
        self.cost.read += len(record)
        return record, version

    async def swap(self, id: str, record: bytes, version: RecordVersion) -> RecordVersion:
        self.cost.written += len(record)
        return await super().swap(id, record, version)

    def writer(self, id: str, name: str) -> Any:
        return self.file(id, name)

    def file(self, id: str, name: str) -> FileWriter:
        writer = FileStore.writer(self, id, name)
        original = writer.write

        def write(piece: bytes | bytearray | memoryview) -> None:
            self.cost.written += len(piece)
            original(piece)

        writer.write = write  # type: ignore[method-assign]
        return writer

    async def pieces(self, id: str, segments: Sequence[Segment], start: int = 0) -> AsyncIterator[bytes]:
        async for piece in super().pieces(id, segments, start):
            self.cost.read += len(piece)
            yield piece


class SegmentPerCommit(Counting):
    """Every commit makes a segment of its own, as in a bucket."""

    def writer(self, id: str, name: str) -> Any:
        return _SegmentPerCommit(self, id, name)


class _SegmentPerCommit:
    def __init__(self, store: SegmentPerCommit, id: str, name: str) -> None:
        self._store, self._id, self._name = store, id, name
        self._numbers = count()
        self._pending = b""

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        self._pending += piece

    async def commit(self) -> Sequence[Segment]:
        if not self._pending:
            return ()
        writer = self._store.file(self._id, f"{self._name}-{next(self._numbers)}")
        writer.write(self._pending)
        self._pending = b""
        found = await writer.commit()
        writer.close()
        return found

    def close(self) -> None:
        self._pending = b""
