"""A store as one instance sees it, whose calls can be held up, refused, or cut off as by SIGKILL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from changeover.uploads.manifest import Segment
from changeover.uploads.store import Store, Version, Writer


class Killed(BaseException):
    """The instance is no more: nothing it still tries has any effect."""


class Faulty:
    """Every call but `write` goes through `before`; a call on its way to the store is named."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._dead = False
        self._held: frozenset[str] = frozenset()
        self._open = asyncio.Event()
        self.waiting = 0

    def hold(self, *calls: str) -> None:
        """Hold these calls up, or all, until `release`: the instance is paused, or its disk is."""
        self._held = frozenset(calls or ("create", "read", "swap", "drop", "commit"))
        self._open.clear()

    def release(self) -> None:
        self._held = frozenset()
        self._open.set()

    def kill(self) -> None:
        self._dead = True
        self.release()

    async def _before(self, call: str) -> None:
        if call in self._held:
            self.waiting += 1
            await self._open.wait()
            self.waiting -= 1
        self._live()

    def _live(self) -> None:
        if self._dead:
            raise Killed

    async def create(self, id: str, record: bytes) -> Version:
        await self._before("create")
        return await self._store.create(id, record)

    async def read(self, id: str) -> tuple[bytes, Version]:
        await self._before("read")
        return await self._store.read(id)

    async def swap(self, id: str, record: bytes, version: Version) -> Version:
        await self._before("swap")
        return await self._store.swap(id, record, version)

    async def drop(self, id: str) -> None:
        await self._before("drop")
        await self._store.drop(id)

    def ids(self) -> AsyncIterator[str]:
        return self._store.ids()

    def writer(self, id: str, name: str) -> Writer:
        self._live()
        return _Writer(self, self._store.writer(id, name))

    def pieces(self, id: str, segments: Sequence[Segment], start: int = 0) -> AsyncIterator[bytes]:
        self._live()
        return self._store.pieces(id, segments, start)


class _Writer:
    def __init__(self, store: Faulty, writer: Writer) -> None:
        self._store = store
        self._writer = writer

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        self._store._live()
        self._writer.write(piece)

    async def commit(self) -> Sequence[Segment]:
        await self._store._before("commit")
        return await self._writer.commit()

    def close(self) -> None:
        self._writer.close()
