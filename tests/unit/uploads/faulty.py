"""A store as one instance sees it, whose calls can be held up, refused, or cut off as by SIGKILL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from changeover.uploads.stores.store import RecordVersion, Segment, SegmentWriter, Store, StoreUnavailable


class Killed(BaseException):
    """The instance is no more: nothing it still tries has any effect."""


class Faulty:
    """`swap` is a call on its way to the store; `swapped` has happened, and its response is outstanding."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.segment = store.segment
        self._dead = False
        self.held: frozenset[str] = frozenset()
        self._open = asyncio.Event()
        self.waiting = 0
        self.full = False

    def hold(self, *calls: str) -> None:
        """Hold these calls up, or all on their way, until `release`: the instance is paused, or its disk is."""
        self.held = frozenset(calls or ("create", "read", "swap", "drop", "commit"))
        self._open.clear()

    def release(self) -> None:
        self.held = frozenset()
        self._open.set()

    def kill(self) -> None:
        self._dead = True
        self.release()

    async def passes(self, call: str) -> None:
        if call in self.held:
            self.waiting += 1
            await self._open.wait()
            self.waiting -= 1
        self.check_alive()

    def check_alive(self) -> None:
        if self._dead:
            raise Killed

    async def create(self, id: str, record: bytes) -> RecordVersion:
        await self.passes("create")
        return await self._store.create(id, record)

    async def read(self, id: str) -> tuple[bytes, RecordVersion]:
        await self.passes("read")
        return await self._store.read(id)

    async def swap(self, id: str, record: bytes, version: RecordVersion) -> RecordVersion:
        await self.passes("swap")
        version = await self._store.swap(id, record, version)
        await self.passes("swapped")
        return version

    async def drop(self, id: str) -> None:
        await self.passes("drop")
        await self._store.drop(id)

    async def age(self, id: str) -> float:
        await self.passes("age")
        return await self._store.age(id)

    def ids(self) -> AsyncIterator[str]:
        return self._store.ids()

    def writer(self, id: str, name: str) -> SegmentWriter:
        self.check_alive()
        return _Writer(self, self._store.writer(id, name))

    async def stored(self, id: str) -> Sequence[Segment]:
        self.check_alive()
        return await self._store.stored(id)

    async def trim(self, id: str, segments: Sequence[Segment]) -> None:
        self.check_alive()
        await self._store.trim(id, segments)

    def pieces(self, id: str, segments: Sequence[Segment], start: int = 0) -> AsyncIterator[bytes]:
        self.check_alive()
        return self._store.pieces(id, segments, start)


class _Writer:
    def __init__(self, store: Faulty, writer: SegmentWriter) -> None:
        self._store = store
        self._writer = writer
        self._failed = False

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        self._store.check_alive()
        self._failed |= self._store.full
        if self._failed:
            raise StoreUnavailable("no room", full=True)
        self._writer.write(piece)

    async def commit(self) -> Sequence[Segment]:
        assert not self._failed, "a writer that failed may only be closed"
        await self._store.passes("commit")
        segments = await self._writer.commit()
        await self._store.passes("committed")
        return segments

    def close(self) -> None:
        self._writer.close()
