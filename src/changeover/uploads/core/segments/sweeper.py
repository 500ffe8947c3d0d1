"""Delete bytes that no record names: of writers that were overtaken or killed, and of uploads that are deleted.

An unnamed segment is deleted if its writer can no longer commit: the upload is complete, or the epoch of the segment is
over. Otherwise its writer may still commit. If the upload and its segments have not changed by the next collection, the
sweeper ends the epoch first, so that a writer that only slept is refused.

Refuses to compare clocks: a store's time of change says nothing about a writer on another machine.
"""

from __future__ import annotations

from changeover.uploads.core.manifest import Manifest, UploadState
from changeover.uploads.core.repository import Repository
from changeover.uploads.core.segments.lists import all_segments
from changeover.uploads.core.segments.names import epoch_of
from changeover.uploads.core.segments.part_lists import all_parts
from changeover.uploads.stores.store import RecordMissing, RecordVersion, Segment

CLEAN_ROUNDS = 2
"""An unchanged upload is not listed again after this many listings without an unnamed byte. Two, because a request to a
bucket may arrive after the first."""


class Sweeper:
    """Deletes unnamed bytes in the store of a repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._clean: dict[str, tuple[RecordVersion, int]] = {}
        """Listings in a row that found nothing in that version."""
        self._suspects: dict[str, tuple[RecordVersion, frozenset[Segment]]] = {}
        """Unnamed segments whose writer may still commit."""

    async def sweep(self, manifest: Manifest, version: RecordVersion) -> None:
        """Delete the unnamed bytes of an upload. Raises StoreUnavailable, RecordMissing, RecordChanged."""
        repository, id = self._repository, manifest.id
        cleaned, rounds = self._clean.get(id, (version, 0))
        if cleaned != version:
            rounds = 0
        if rounds >= CLEAN_ROUNDS and id not in repository.leftovers:
            return
        unnamed = await self._unnamed(manifest)
        over = [segment for segment, stored in unnamed.items() if _is_over(manifest, stored)]
        suspects = frozenset(unnamed.values()) - {unnamed[segment] for segment in over}
        if suspects and self._suspects.get(id) == (version, suspects):
            version = await repository.swap(manifest.taken_by(""), version)
            over = list(unnamed)
        await repository.store.trim(id, over)
        repository.leftovers.pop(id, None)
        if len(over) < len(unnamed):
            self._suspects[id] = (version, suspects)
        else:
            self._suspects.pop(id, None)
            self._clean[id] = (version, 0 if unnamed else rounds + 1)

    async def _unnamed(self, manifest: Manifest) -> dict[Segment, Segment]:
        """Segments with unnamed bytes as they are in the store, by what is to remain of them."""
        store = self._repository.store
        stored = await store.stored(manifest.id)
        named = {each.segment.name: each.segment.size for each in manifest.lists}
        named |= {each.segment.name: each.segment.size for each in manifest.part_lists.values()}
        named |= {segment.name: segment.size for segment in await all_segments(store, manifest)}
        for part in (await all_parts(store, manifest)).values():
            named |= {segment.name: segment.size for segment in part.segments}
        sizes = ((segment, named.get(segment.name, 0)) for segment in stored)
        return {Segment(segment.name, size): segment for segment, size in sizes if segment.size > size or not size}

    async def sweep_absent(self, id: str) -> None:
        """Delete bytes that arrived while their upload was deleted. Raises StoreUnavailable."""
        store = self._repository.store
        stored = await store.stored(id)
        try:
            await store.read(id)
        except RecordMissing:
            await store.trim(id, [Segment(segment.name, 0) for segment in stored])

    def forget_others(self, ids: set[str]) -> None:
        """Forget every upload but these."""
        for known in (self._clean, self._suspects, self._repository.leftovers):
            for id in known.keys() - ids:
                known.pop(id)


def _is_over(manifest: Manifest, stored: Segment) -> bool:
    """Whether the writer of a segment can no longer commit."""
    if manifest.state is not UploadState.RECEIVING:
        return True
    epoch = epoch_of(stored.name)
    if epoch is None:
        return False
    # A part is written without a holder.
    return epoch < manifest.epoch or (epoch == manifest.epoch and not manifest.holder and manifest.dialect != "parts")
