"""The records of uploads in a store: read as their owner may, changed by compare-and-swap, given up.

Refuses to know how bytes arrive, or what an application says of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from changeover.uploads.core.appending import translated_errors
from changeover.uploads.core.errors import Cancelled, NotFound
from changeover.uploads.core.events import EventDispatcher
from changeover.uploads.core.limits.quota import is_place
from changeover.uploads.core.manifest import Manifest, UploadState
from changeover.uploads.stores.store import RecordChanged, RecordMissing, RecordVersion, Store, StoreUnavailable


class Repository:
    """All of one store's."""

    def __init__(self, store: Store, events: EventDispatcher, now: Callable[[], float]) -> None:
        self.store = store
        self.events = events
        self.now = now
        """Seconds since the epoch of Unix."""

    async def read(self, id: str, owner: str) -> tuple[Manifest, RecordVersion]:
        """An upload that has not ended. Raises NotFound, Cancelled, TryLater."""
        if is_place(id):
            raise NotFound("there is no such upload")
        with translated_errors():
            record, version = await self.store.read(id)
        manifest = Manifest.load(record)
        if manifest.owner != owner:
            raise NotFound("there is no such upload")
        if manifest.state is UploadState.CANCELLED:
            raise Cancelled("this upload was cancelled")
        if self.is_over(manifest):
            raise Cancelled("this upload has expired")
        return manifest, version

    def is_over(self, manifest: Manifest) -> bool:
        """Not while the application is being asked: its answer must find the upload there."""
        now = self.now()
        asking = manifest.state is UploadState.COMPLETE and now < manifest.held_until
        return manifest.expires is not None and now >= manifest.expires and not asking

    async def is_unfinished(self, id: str) -> bool:
        """Whether its bytes are still coming."""
        try:
            manifest = Manifest.load((await self.store.read(id))[0])
        except RecordMissing:
            return False
        return manifest.state is UploadState.RECEIVING and not self.is_over(manifest)

    async def change(
        self, manifest: Manifest, version: RecordVersion, change: Callable[[Manifest], Manifest]
    ) -> tuple[Manifest, RecordVersion]:
        """Change the newest manifest, however often somebody else is faster. `change` sees each that is tried.

        Raises what `read` and `change` do.
        """
        while True:
            changed = change(manifest)
            if changed == manifest:
                return manifest, version
            try:
                with translated_errors():
                    return changed, await self.store.swap(manifest.id, changed.dump(), version)
            except RecordChanged:
                manifest, version = await self.read(manifest.id, manifest.owner)

    async def give_up(
        self, manifest: Manifest, version: RecordVersion, check: Callable[[Manifest], Manifest] = lambda it: it
    ) -> None:
        """Never to go on; its bytes go. Raises what `change` does."""
        manifest, _ = await self.change(manifest, version, lambda it: check(it).cancelled())
        with contextlib.suppress(StoreUnavailable):  # the next collection does it
            await self.store.drop(manifest.id)
        self.events.emit("cancelled", manifest)
