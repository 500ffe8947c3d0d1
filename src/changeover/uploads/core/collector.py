"""Collect expired uploads and unnamed bytes, and call the handler for complete uploads whose process has died.

All instances collect; concurrent collections of one store do not disturb each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from changeover.uploads.core.completion.completion import Completion
from changeover.uploads.core.errors import Unreadable, UploadError
from changeover.uploads.core.idempotency import collect_key
from changeover.uploads.core.limits.quota import is_quota_record
from changeover.uploads.core.manifest import UploadState
from changeover.uploads.core.repository import Repository
from changeover.uploads.core.segments.sweeper import Sweeper
from changeover.uploads.core.timing import UploadTiming
from changeover.uploads.stores.store import RecordChanged, RecordMissing, StoreUnavailable

_LOG = logging.getLogger(__name__)


class Collector:
    """Collects in one store at intervals."""

    def __init__(self, repository: Repository, completion: Completion, timing: UploadTiming, max_age: float) -> None:
        self._repository = repository
        self._completion = completion
        self._timing = timing
        self._max_age = max_age
        self._pause = timing.collect_interval
        self._sweeper = Sweeper(repository)

    async def collect(self, *, sweep: bool = True) -> int:
        """Collect once. Returns the number of uploads deleted. `sweep`: unnamed bytes too. Raises StoreUnavailable."""
        deleted = 0
        self._pause = self._timing.collect_interval
        seen: set[str] = set()
        async for id in self._repository.store.ids():
            seen.add(id)
            try:
                deleted += await self._collect(id, sweep)
            except (RecordMissing, RecordChanged):
                pass  # the next collection looks at an upload that changed meanwhile
            except (StoreUnavailable, UploadError) as error:
                _LOG.warning("upload %s is left to the next collection: %s", id, error)
        self._sweeper.forget_others(seen)
        return deleted

    async def _collect(self, id: str, sweep: bool) -> bool:
        """Collect one upload, or the record of a key. Returns whether an upload is deleted."""
        repository = self._repository
        if is_quota_record(id):
            await collect_key(repository.store, id)
            return False
        read_at = asyncio.get_running_loop().time()
        try:
            found, version = await repository.store.read(id)
        except RecordMissing:
            await self._sweeper.sweep_absent(id)
            return False
        try:
            manifest = repository.decode(id, found)
        except Unreadable:
            if await repository.store.age(id) < self._max_age:
                return False
            _LOG.error("upload %s is deleted: its record is damaged, and older than an upload may get", id)  # noqa: TRY400
            await repository.store.drop(id)
            return True
        if manifest.state is not UploadState.CANCELLED:
            if not repository.is_expired(manifest):
                if await self._completion.complete_abandoned(manifest, version, read_at):
                    self._pause = min(self._pause, self._timing.handler_lease)
                if sweep:
                    await self._sweeper.sweep(manifest, version)
                return False
            await repository.swap(manifest.cancelled(), version)
            repository.events.emit("expired", manifest)
        await repository.store.drop(id)
        return True

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Collect at intervals while the block runs."""
        task = asyncio.ensure_future(self._run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(pause := self._pause)
            try:
                # A shorter pause is too short to tell a writer that is stopped from a slow one.
                await self.collect(sweep=pause == self._timing.collect_interval)
            except Exception:
                _LOG.exception("a collection failed; the next one begins in %g s", self._pause)
