"""Keep the record of an upload small, whatever the number of its requests: merge small segments, and list old ones.

Every request adds a segment. Small segments are copied into larger ones, level by level: `FAN_IN` of about the same
size become one. A byte is copied at most once for each level below `MERGE_BELOW`; larger segments are never copied.
When the record has more than `MAX_INLINE` segments, the oldest move to a list of their own, a `StoredList`. Lists are
merged by the same rule. So a record has a bounded number of segments, and a number of lists that grows with the
logarithm of the number of segments.

Merged segments and lists are new segments, durable before the record names them. The record stops naming the old ones
in the same compare-and-swap. No reader needs those: bytes are read only after the last append.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from dataclasses import replace

from changeover.uploads.core.manifest import Manifest, StoredList
from changeover.uploads.core.segments.names import segment_name
from changeover.uploads.stores.store import RecordMissing, Segment, Store, StoreUnavailable

FAN_IN = 8
MERGE_BELOW = 256 * 1024
"""Bytes. The largest merge copies FAN_IN times as much, in some milliseconds."""
MAX_INLINE = 96
"""Segments in a record, of about 40 bytes each. Of small segments, up to 7 for each of 7 levels wait for a merge."""
KEEP_INLINE = 56
"""Segments that stay in the record, so that small ones can still be merged."""


def mergeable(sizes: Sequence[int], below: int | None = None) -> int:
    """How many of the last items to merge into one; 0: none. Items of `below` and more are never merged."""
    counts: dict[int, int] = {}
    highest = 0
    for count, size in enumerate(reversed(sizes), 1):
        if below is not None and size >= below:
            return 0
        level = size.bit_length() // 3  # the next level is FAN_IN times as large
        counts[level] = counts.get(level, 0) + 1
        highest = max(highest, level)
        if counts[highest] == FAN_IN:
            return count
    return 0


async def compacted(store: Store, manifest: Manifest, *, growing: bool) -> tuple[Manifest, Sequence[Segment]]:
    """The manifest with fewer segments in its record, and the segments that it no longer names.

    `growing`: the writer of the last segment goes on. If the store fails, or another process takes the upload over, the
    manifest stays as it is: a later append compacts it.
    """
    try:
        return await _compacted(store, manifest, growing)
    except (StoreUnavailable, RecordMissing):
        return manifest, ()


async def _compacted(store: Store, manifest: Manifest, growing: bool) -> tuple[Manifest, Sequence[Segment]]:
    settled = len(manifest.segments) - growing
    segments, last = list(manifest.segments[:settled]), manifest.segments[settled:]
    small: Sequence[Segment] = ()
    if count := mergeable([segment.size for segment in segments], MERGE_BELOW):
        small = tuple(segments[-count:])
        segments[-count:] = [await written(store, manifest, "m", store.pieces(manifest.id, small))]
        manifest = replace(manifest, segments=(*segments, *last))
    changed = await sealed(store, manifest)
    return changed, (*small, *(each.segment for each in manifest.lists if each not in changed.lists))


async def sealed(store: Store, manifest: Manifest) -> Manifest:
    """The manifest with its oldest segments in a list, if the record has too many. Raises StoreUnavailable."""
    if len(manifest.segments) <= MAX_INLINE:
        return manifest
    oldest = manifest.segments[:-KEEP_INLINE]
    sizes = [each.segment.size for each in manifest.lists]
    kept = len(manifest.lists) + 1 - max(1, mergeable([*sizes, len(_encoded(_content(oldest)))]))
    listed = [*await _read(store, manifest.id, manifest.lists[kept:]), *oldest]
    lists = (*manifest.lists[:kept], await stored_json(store, manifest, _content(listed), _sum(listed)))
    return replace(manifest, segments=manifest.segments[-KEEP_INLINE:], lists=lists)


async def all_segments(store: Store, manifest: Manifest) -> Sequence[Segment]:
    """The segments of all bytes, in order. Raises StoreUnavailable, RecordMissing."""
    return [*await _read(store, manifest.id, manifest.lists), *manifest.segments]


async def pieces(store: Store, manifest: Manifest, start: int = 0) -> AsyncGenerator[bytes, None]:
    """The bytes of an upload from `start` on. Raises StoreUnavailable, RecordMissing."""
    async for piece in store.pieces(manifest.id, await all_segments(store, manifest), start):
        yield piece


async def written(store: Store, manifest: Manifest, kind: str, content: AsyncIterator[bytes]) -> Segment:
    """A new, durable segment with that content."""
    writer = store.writer(manifest.id, segment_name(manifest.epoch, kind))
    try:
        async for piece in content:
            writer.write(piece)
        [segment] = await writer.commit()
    finally:
        writer.close()
    return segment


async def stored_json(store: Store, manifest: Manifest, content: object, size: int) -> StoredList:
    """A list in a segment of its own."""

    async def encoded() -> AsyncIterator[bytes]:
        yield _encoded(content)

    return StoredList(await written(store, manifest, "l", encoded()), size)


async def read_json(store: Store, id: str, stored: StoredList) -> object:
    """The content of a list. Raises StoreUnavailable, RecordMissing."""
    found: object = json.loads(b"".join([piece async for piece in store.pieces(id, [stored.segment])]))
    return found


def _encoded(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def _content(segments: Iterable[Segment]) -> list[tuple[str, int]]:
    return [(segment.name, segment.size) for segment in segments]


def _sum(segments: Iterable[Segment]) -> int:
    return sum(segment.size for segment in segments)


async def _read(store: Store, id: str, lists: Iterable[StoredList]) -> list[Segment]:
    found: list[Segment] = []
    for each in lists:
        content = await read_json(store, id, each)
        assert isinstance(content, list)
        found += [Segment(name, size) for name, size in content]
    return found
