"""The parts of an upload in parts. The record has the latest ones; lists of `RANGE` numbers each have the others.

So the record of an upload of 10,000 parts has some kilobytes, and a part costs the same at the end as at the beginning.
A part that replaces one in a list moves to the record, and the list is written again without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from changeover.uploads.core.manifest import Manifest, StoredList, UploadPart
from changeover.uploads.core.segments.lists import read_json, stored_json
from changeover.uploads.stores.store import Segment, Store

RANGE = 128
"""Numbers of one list, which has about 60 bytes for each."""
MAX_INLINE = 128
"""Parts in a record."""


async def all_parts(store: Store, manifest: Manifest) -> Mapping[int, UploadPart]:
    """Every part. Raises StoreUnavailable, RecordMissing."""
    parts = dict(manifest.parts)
    for each in manifest.part_lists.values():
        parts |= await _read(store, manifest.id, each)
    return parts


async def find_part(store: Store, manifest: Manifest, number: int) -> UploadPart | None:
    """That part, if there is one. Raises StoreUnavailable, RecordMissing."""
    if number in manifest.parts or (stored := manifest.part_lists.get(number // RANGE)) is None:
        return manifest.parts.get(number)
    return (await _read(store, manifest.id, stored)).get(number)


async def with_part(
    store: Store, manifest: Manifest, number: int, part: UploadPart
) -> tuple[Manifest, Sequence[Segment]]:
    """The manifest with that part, and the segments that it no longer names. Raises StoreUnavailable, RecordMissing."""
    if (earlier := await find_part(store, manifest, number)) == part:
        return manifest, ()  # an earlier attempt has succeeded
    obsolete = [] if earlier is None else list(earlier.segments)
    if earlier is not None and number not in manifest.parts:
        stored = manifest.part_lists[number // RANGE]
        others = {n: each for n, each in (await _read(store, manifest.id, stored)).items() if n != number}
        manifest = await _with_list(store, manifest, number // RANGE, others)
        obsolete.append(stored.segment)
    manifest = manifest.with_part(number, part)
    if len(manifest.parts) > MAX_INLINE:
        for key in {number // RANGE for number in manifest.parts}:
            listed = {n: each for n, each in manifest.parts.items() if n // RANGE == key}
            if key in manifest.part_lists:
                listed |= await _read(store, manifest.id, manifest.part_lists[key])
                obsolete.append(manifest.part_lists[key].segment)
            manifest = await _with_list(store, manifest, key, listed)
        manifest = replace(manifest, parts={})
    return manifest, obsolete


async def _with_list(store: Store, manifest: Manifest, key: int, parts: Mapping[int, UploadPart]) -> Manifest:
    lists = {each: stored for each, stored in manifest.part_lists.items() if each != key}
    if parts:
        content = {n: [(each.name, each.size) for each in part.segments] for n, part in parts.items()}
        lists[key] = await stored_json(store, manifest, content, sum(part.size for part in parts.values()))
    return replace(manifest, part_lists=lists)


async def _read(store: Store, id: str, stored: StoredList) -> dict[int, UploadPart]:
    content = await read_json(store, id, stored)
    assert isinstance(content, dict)
    return {
        int(n): UploadPart(tuple(Segment(name, size) for name, size in segments)) for n, segments in content.items()
    }
