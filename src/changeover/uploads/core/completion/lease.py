"""The lease of a process that calls the handler: other processes wait for it instead of calling the handler too."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

from changeover.uploads.core.manifest import Manifest
from changeover.uploads.core.repository import Repository
from changeover.uploads.stores.store import RecordChanged, RecordMissing, RecordVersion, StoreUnavailable


class CompletionLease:
    """Renews the lease in `manifest` every third of `seconds` while the block runs."""

    def __init__(self, repository: Repository, manifest: Manifest, version: RecordVersion, seconds: float) -> None:
        self.manifest = manifest
        self.version = version
        self._repository = repository
        self._seconds = seconds
        self._ended = asyncio.Event()
        self._renewal: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._renewal = asyncio.ensure_future(self._renew())

    async def __aexit__(self, *_: object) -> None:
        assert self._renewal is not None
        self._ended.set()  # not cancelled: a swap that succeeds after a cancellation would leave its version unknown
        await self._renewal

    async def _renew(self) -> None:
        while not await self._ends_within(self._seconds / 3):
            renewed = replace(self.manifest, lease_until=self._repository.now() + self._seconds)
            with contextlib.suppress(StoreUnavailable):
                try:
                    self.version = await self._repository.swap(renewed, self.version)
                except (RecordChanged, RecordMissing):
                    return  # another process took the upload over: the response will be refused
                self.manifest = renewed

    async def _ends_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        return self._ended.is_set()
