"""The records of uploads in a store: read as their owner may, changed by compare-and-swap, given up.

Refuses to know how bytes arrive, or what an application says of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from changeover.uploads.core.appending import told
from changeover.uploads.core.errors import Cancelled, NotFound
from changeover.uploads.core.events import Events
from changeover.uploads.core.manifest import Manifest, State
from changeover.uploads.core.quota import is_place
from changeover.uploads.core.store import Changed, Missing, Store, Unavailable, Version


class Records:
    """All of one store's."""

    def __init__(self, store: Store, events: Events, now: Callable[[], float]) -> None:
        self.store = store
        self.events = events
        self.now = now
        """Seconds since the epoch of Unix."""

    async def read(self, id: str, owner: str) -> tuple[Manifest, Version]:
        """An upload that has not ended. Raises NotFound, Cancelled, TryLater."""
        if is_place(id):
            raise NotFound("there is no such upload")
        with told():
            record, version = await self.store.read(id)
        manifest = Manifest.load(record)
        if manifest.owner != owner:
            raise NotFound("there is no such upload")
        if manifest.state is State.CANCELLED:
            raise Cancelled("this upload was cancelled")
        if self.is_over(manifest):
            raise Cancelled("this upload has expired")
        return manifest, version

    def is_over(self, manifest: Manifest) -> bool:
        """Not while the application is being asked: its answer must find the upload there."""
        now = self.now()
        asking = manifest.state is State.COMPLETE and now < manifest.held_until
        return manifest.expires is not None and now >= manifest.expires and not asking

    async def is_unfinished(self, id: str) -> bool:
        """Whether its bytes are still coming."""
        try:
            manifest = Manifest.load((await self.store.read(id))[0])
        except Missing:
            return False
        return manifest.state is State.RECEIVING and not self.is_over(manifest)

    async def change(
        self, manifest: Manifest, version: Version, change: Callable[[Manifest], Manifest]
    ) -> tuple[Manifest, Version]:
        """Change the newest manifest, however often somebody else is faster. `change` sees each that is tried.

        Raises what `read` and `change` do.
        """
        while True:
            changed = change(manifest)
            if changed == manifest:
                return manifest, version
            try:
                with told():
                    return changed, await self.store.swap(manifest.id, changed.dump(), version)
            except Changed:
                manifest, version = await self.read(manifest.id, manifest.owner)

    async def give_up(
        self, manifest: Manifest, version: Version, check: Callable[[Manifest], Manifest] = lambda it: it
    ) -> None:
        """Never to go on; its bytes go. Raises what `change` does."""
        manifest, _ = await self.change(manifest, version, lambda it: check(it).cancelled())
        with contextlib.suppress(Unavailable):  # the next collection does it
            await self.store.drop(manifest.id)
        self.events.tell("cancelled", manifest)
