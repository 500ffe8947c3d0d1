"""Manifests in a store: read for their owner, changed by compare-and-swap, cancelled.

Refuses to know how bytes arrive, or how the handler responds.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from changeover.uploads.core import capability, record
from changeover.uploads.core.errors import Cancelled, NotFound, RetryLater, Unreadable
from changeover.uploads.core.events import EventDispatcher
from changeover.uploads.core.limits.quota import is_quota_record
from changeover.uploads.core.manifest import Manifest, UploadState
from changeover.uploads.core.metrics import UploadMetrics
from changeover.uploads.stores.store import (
    RecordChanged,
    RecordMissing,
    RecordVersion,
    Segment,
    Store,
    StoreUnavailable,
)

_LOG = logging.getLogger(__name__)


class Repository:
    """The manifests of one store."""

    def __init__(self, store: Store, events: EventDispatcher, metrics: UploadMetrics, now: Callable[[], float]) -> None:
        self.store = store
        self.events = events
        self.metrics = metrics
        self.now = now
        """Seconds since the epoch of Unix."""
        self.leftovers: dict[str, int] = {}
        """Bytes by upload that no record names and that this process could not delete."""

    @contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Translate store errors into client errors, and count them. Raises RetryLater, NotFound."""
        try:
            with self.counted_errors():
                yield
        except RecordMissing:
            raise NotFound from None

    @contextmanager
    def counted_errors(self) -> Iterator[None]:
        """The same, but RecordMissing passes. Raises RetryLater, RecordMissing."""
        try:
            yield
        except StoreUnavailable as error:
            self.metrics.store_errors.labels("full" if error.full else "unavailable").inc()
            raise RetryLater(f"the upload store is unavailable: {error}", full=error.full) from error

    async def read(self, id: str, owner: str) -> tuple[Manifest, RecordVersion]:
        """An upload that is neither cancelled nor expired. Raises NotFound, Cancelled, RetryLater."""
        if is_quota_record(id):
            raise NotFound
        with self.translated_errors():
            found, version = await self.store.read(id)
        manifest = self.decode(id, found)
        # A file system that ignores case finds an upload under other ids too.
        if manifest.owner != owner or manifest.id != id:
            raise NotFound
        if manifest.state is UploadState.CANCELLED:
            raise Cancelled("this upload was cancelled")
        if self.is_expired(manifest):
            raise Cancelled("this upload has expired")
        return manifest, version

    async def owner_by_capability(self, id: str, secret: str) -> str:
        """The owner of the upload that this capability belongs to. Raises NotFound, RetryLater."""
        if is_quota_record(id):
            raise NotFound
        with self.translated_errors():
            found, _ = await self.store.read(id)
        manifest = self.decode(id, found)
        if not capability.is_granted(secret, manifest.capability):
            raise NotFound
        return manifest.owner

    def decode(self, id: str, found: bytes) -> Manifest:
        """The manifest of a record. Reports one that cannot be read. Raises Unreadable, RetryLater."""
        try:
            return record.decode(found)
        except record.NewerRecord as error:
            self.metrics.unreadable_records.labels("newer").inc()
            _LOG.warning("upload %s is left to instances of a newer release: %s", id, error)
            raise RetryLater("only an instance of a newer release can continue this upload") from error
        except record.DamagedRecord as error:
            self.metrics.unreadable_records.labels("damaged").inc()
            _LOG.error("the record of upload %s is damaged; its client gets 410: %s", id, error)  # noqa: TRY400
            raise Unreadable from error

    async def swap(self, manifest: Manifest, version: RecordVersion) -> RecordVersion:
        """Store a manifest. Raises what `Store.swap` raises."""
        return await self.store.swap(manifest.id, record.encode(manifest), version)

    def is_expired(self, manifest: Manifest) -> bool:
        """False for a complete upload until the handler has responded: its bytes are acknowledged."""
        awaits_handler = manifest.state is UploadState.COMPLETE and manifest.needs_handler
        return manifest.expires is not None and self.now() >= manifest.expires and not awaits_handler

    async def is_unfinished(self, id: str) -> bool:
        """Whether its bytes are still arriving. Raises StoreUnavailable."""
        try:
            manifest = self.decode(id, (await self.store.read(id))[0])
        except RecordMissing:
            return False
        except (Unreadable, RetryLater):
            return True  # its bytes are there until it is collected
        return manifest.state is UploadState.RECEIVING and not self.is_expired(manifest)

    async def change(
        self, manifest: Manifest, version: RecordVersion, change: Callable[[Manifest], Manifest]
    ) -> tuple[Manifest, RecordVersion]:
        """Change the newest manifest, and retry while other processes change it first.

        `change` is called with each manifest that is tried. Raises what `read` and `change` raise.
        """
        while True:
            changed = change(manifest)
            if changed == manifest:
                return manifest, version
            try:
                with self.translated_errors():
                    return changed, await self.swap(changed, version)
            except RecordChanged:
                manifest, version = await self.read(manifest.id, manifest.owner)

    async def discard(self, id: str, segments: Sequence[Segment]) -> None:
        """Delete segments that no record names. What the store cannot delete now counts in `leftovers` until the next
        collection."""
        if not segments:
            return
        try:
            await self.store.trim(id, [Segment(segment.name, 0) for segment in segments])
        except StoreUnavailable:
            self.leftovers[id] = self.leftovers.get(id, 0) + sum(segment.size for segment in segments)
        except RecordMissing:
            pass  # the upload is deleted

    async def cancel(
        self, manifest: Manifest, version: RecordVersion, check: Callable[[Manifest], Manifest] = lambda it: it
    ) -> None:
        """Cancel an upload and delete its bytes. Raises what `change` raises."""
        manifest, _ = await self.change(manifest, version, lambda it: check(it).cancelled())
        with contextlib.suppress(StoreUnavailable):  # the next collection retries
            await self.store.drop(manifest.id)
        self.events.emit("cancelled", manifest)
