"""Collect expired uploads, and call the handler for complete uploads whose process has died.

All instances collect; concurrent collections of one store do not disturb each other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from changeover.uploads.core import record
from changeover.uploads.core.completion.completion import Completion
from changeover.uploads.core.idempotency import collect_key
from changeover.uploads.core.limits.quota import is_quota_record
from changeover.uploads.core.manifest import UploadState
from changeover.uploads.core.repository import Repository
from changeover.uploads.core.timing import UploadTiming
from changeover.uploads.stores.store import RecordChanged, RecordMissing, StoreUnavailable


class Collector:
    """Collects in one store at intervals."""

    def __init__(self, repository: Repository, completion: Completion, timing: UploadTiming) -> None:
        self._repository = repository
        self._completion = completion
        self._timing = timing
        self._pause = timing.collect_interval

    async def collect(self) -> int:
        """Collect once. Returns the number of uploads deleted. Raises StoreUnavailable."""
        repository = self._repository
        deleted = 0
        self._pause = self._timing.collect_interval
        async for id in repository.store.ids():
            # The next collection looks at an upload that changed meanwhile, or whose record cannot be read.
            with contextlib.suppress(RecordMissing, RecordChanged, StoreUnavailable, ValueError):
                if is_quota_record(id):
                    await collect_key(repository.store, id)
                    continue
                read_at = asyncio.get_running_loop().time()
                found, version = await repository.store.read(id)
                manifest = record.decode(found)
                if manifest.state is not UploadState.CANCELLED:
                    if not repository.is_expired(manifest):
                        if await self._completion.complete_abandoned(manifest, version, read_at):
                            self._pause = min(self._pause, self._timing.handler_lease)
                        continue
                    await repository.swap(manifest.cancelled(), version)
                    repository.events.emit("expired", manifest)
                await repository.store.drop(id)
                deleted += 1
        return deleted

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
            await asyncio.sleep(self._pause)
            with contextlib.suppress(StoreUnavailable):
                await self.collect()
