"""The lease of a process that calls the handler: other processes wait for it instead of calling the handler too.

The holder renews the lease by changing the record. Another process takes the lease for expired when it has seen the
record unchanged for the length of a lease by its own monotonic clock. Refuses to compare the clocks of two machines:
they differ by minutes, in both directions.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

from changeover.uploads.core.manifest import Manifest
from changeover.uploads.core.repository import Repository
from changeover.uploads.stores.store import RecordChanged, RecordMissing, RecordVersion, StoreUnavailable

MAX_OBSERVED = 10_000
"""Leases that are remembered. The wait for a forgotten one begins anew."""


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


class ObservedLeases:
    """The leases of other processes, each with the version of the record in which this process saw it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._seen: dict[str, tuple[RecordVersion, float]] = {}

    def is_held(self, id: str, version: RecordVersion, read_at: float) -> bool:
        """Whether the lease in this version of the record may still be held. `read_at`: when the read began."""
        seen, since = self._seen.get(id, ("", 0.0))
        if seen == version:
            return read_at - since < self._seconds
        if len(self._seen) >= MAX_OBSERVED:
            del self._seen[next(iter(self._seen))]
        self._seen[id] = version, asyncio.get_running_loop().time()
        return True

    def forget(self, id: str) -> None:
        """No process holds it any more."""
        self._seen.pop(id, None)
