"""Who is asking the application about an upload, and for how long nobody else is to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace

from changeover.uploads.core.manifest import Manifest
from changeover.uploads.stores.store import RecordChanged, RecordMissing, RecordVersion, Store, StoreUnavailable

LEASE = 10.0
"""Seconds for which somebody else's asking of the application is waited out; renewed while it takes longer. Clients
wait for about half a minute: when whoever asked has died, there must be time left for asking again."""


def lease_from(at: float) -> float:
    """Until when nobody else is to ask, if it began, or was renewed, at `at`."""
    return at + LEASE


class CompletionLease:
    """While the block runs, nobody else asks the application about this upload."""

    def __init__(self, store: Store, manifest: Manifest, version: RecordVersion, now: Callable[[], float]) -> None:
        self.manifest = manifest
        self.version = version
        self._store = store
        self._now = now
        self._over = asyncio.Event()
        self._renewing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._renewing = asyncio.ensure_future(self._renew())

    async def __aexit__(self, *_: object) -> None:
        assert self._renewing is not None
        self._over.set()  # not cancelled: a swap that happens although it was would leave its version unknown
        await self._renewing

    async def _renew(self) -> None:
        while not await self._is_over_within(LEASE / 3):
            longer = replace(self.manifest, held_until=lease_from(self._now()))
            with contextlib.suppress(StoreUnavailable):
                try:
                    self.version = await self._store.swap(longer.id, longer.dump(), self.version)
                except (RecordChanged, RecordMissing):
                    return  # taken over: the answer will be refused
                self.manifest = longer

    async def _is_over_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()
        return self._over.is_set()
