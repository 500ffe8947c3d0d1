"""Bytes that a store has, compared with the bytes that records name."""

from __future__ import annotations

from changeover.uploads.core.limits.quota import is_quota_record
from changeover.uploads.core.record import decode
from changeover.uploads.core.segments.lists import all_segments
from changeover.uploads.core.segments.part_lists import all_parts
from changeover.uploads.stores.store import Store


async def named_and_stored(store: Store, id: str) -> tuple[dict[str, int], dict[str, int]]:
    """Sizes by segment: as the record of an upload names them, and as they are in the store."""
    manifest = decode((await store.read(id))[0])
    named = [each.segment for each in (*manifest.lists, *manifest.part_lists.values())]
    named += await all_segments(store, manifest)
    for part in (await all_parts(store, manifest)).values():
        named += part.segments
    stored = await store.stored(id)
    return {segment.name: segment.size for segment in named}, {segment.name: segment.size for segment in stored}


async def stored_bytes(store: Store, id: str) -> int:
    return sum(segment.size for segment in await store.stored(id))


async def check_nothing_unnamed(store: Store) -> None:
    async for id in store.ids():
        if is_quota_record(id):
            continue
        named, stored = await named_and_stored(store, id)
        assert stored == named, id
