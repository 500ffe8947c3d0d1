"""Records stay small: small segments are merged, and old ones move to lists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.uploads.counting import Counting, SegmentPerCommit
from tests.unit.uploads.serving import Instance, Sending, content
from tests.unit.uploads.speaking import ContentRange, Ietf, Tus
from tests.unit.uploads.unnamed import check_nothing_unnamed, named_and_stored

from changeover.uploads import FileStore, Limits
from changeover.uploads.core.manifest import Manifest
from changeover.uploads.core.record import encode
from changeover.uploads.core.segments import lists
from changeover.uploads.core.segments.lists import FAN_IN, MERGE_BELOW, all_segments, compacted, mergeable, sealed
from changeover.uploads.stores.store import Segment

APPENDS, WINDOW = 180, 30
WHOLE = bytes(n * 7 % 251 for n in range(APPENDS * 16))


@pytest.mark.parametrize("dialect", [Ietf(), Tus(), ContentRange()], ids=lambda dialect: type(dialect).__name__)
async def test_an_append_costs_the_same_however_many_came_before(tmp_path: Path, dialect: Ietf | ContentRange) -> None:
    instance = Instance(store := Counting(tmp_path))
    ask = dialect.create(len(WHOLE))
    id = (await instance.got(ask.method, ask.path, b"", **ask.headers)).id
    windows = []
    for first in range(0, len(WHOLE), 16):
        ask = dialect.append(id, first, first + 16, len(WHOLE))
        assert (await instance.got(ask.method, ask.path, WHOLE[first : first + 16], **ask.headers)).status < 400
        if not (first // 16 + 1) % WINDOW:
            windows.append(store.taken())
    assert await content(instance, id) == WHOLE
    assert max(window.written for window in windows) / WINDOW < 6_000
    assert max(window.read for window in windows) / WINDOW < 9_000
    assert windows[-1].written < windows[1].written * 1.5
    await check_nothing_unnamed(store)


async def appended(store: FileStore, sizes: list[int]) -> tuple[Manifest, int]:
    """A manifest after appends of these sizes, and the size of its largest record."""
    manifest = Manifest("a" * 20, "tus", 0.0, None)
    await store.create(manifest.id, encode(manifest))
    largest = 0
    for number, size in enumerate(sizes):
        manifest = manifest.taken_by("x")
        writer = store.writer(manifest.id, f"{manifest.epoch}.{number}")
        writer.write(bytes([number % 256]) * size)
        manifest = manifest.appended(await writer.commit())
        writer.close()
        manifest, obsolete = await compacted(store, manifest, growing=False)
        await store.trim(manifest.id, [Segment(segment.name, 0) for segment in obsolete])
        largest = max(largest, len(encode(manifest)))
    return manifest, largest


@pytest.mark.parametrize(
    ("sizes", "merge_below"),
    [([3] * 500, MERGE_BELOW), ([300, 1] * 300, 200), ([90] * 900, 1), (list(range(1, 400)), MERGE_BELOW)],
    ids=["small", "small between large", "large", "growing"],
)
async def test_a_record_stays_small_and_its_bytes_in_order(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, sizes: list[int], merge_below: int
) -> None:
    monkeypatch.setattr(lists, "MERGE_BELOW", merge_below)
    manifest, largest = await appended(store, sizes)
    assert largest < 8_000
    assert manifest.offset == sum(sizes)
    found = b"".join([piece async for piece in lists.pieces(store, manifest)])
    assert found == b"".join(bytes([number % 256]) * size for number, size in enumerate(sizes))
    version = (await store.read(manifest.id))[1]
    await store.swap(manifest.id, encode(manifest), version)
    named, stored = await named_and_stored(store, manifest.id)
    assert named == stored


@given(st.lists(st.integers(1, MERGE_BELOW * 2), max_size=60))
def test_what_is_merged_is_small_and_at_the_end(sizes: list[int]) -> None:
    found = mergeable(sizes, MERGE_BELOW)
    assert found == 0 or FAN_IN <= found <= len(sizes)
    assert all(size < MERGE_BELOW for size in sizes[len(sizes) - found :])


@given(st.lists(st.integers(1, 4096), max_size=400))
def test_few_small_segments_wait_for_a_merge_and_a_byte_is_copied_once_for_each_level(sizes: list[int]) -> None:
    segments: list[int] = []
    copied = 0
    for size in sizes:
        segments.append(size)
        if found := mergeable(segments, MERGE_BELOW):
            copied += sum(segments[-found:])
            segments[-found:] = [sum(segments[-found:])]
    assert copied <= sum(sizes) * 7
    assert len(segments) <= 7 * FAN_IN * 7


async def test_a_writer_that_goes_on_keeps_its_segment(store: FileStore) -> None:
    manifest = replace(Manifest("a" * 20, "tus", 0.0, None), segments=tuple(Segment(str(n), 1) for n in range(8)))
    assert await compacted(store, manifest, growing=True) == (manifest, ())


async def test_segments_that_another_process_has_merged_leave_the_manifest_as_it_is(store: FileStore) -> None:
    manifest = replace(Manifest("a" * 20, "tus", 0.0, None), segments=tuple(Segment(str(n), 1) for n in range(8)))
    await store.create(manifest.id, encode(manifest))
    assert await compacted(store, manifest, growing=False) == (manifest, ())


async def test_segments_that_a_record_names_many_times_are_listed_as_often(store: FileStore) -> None:
    manifest = replace(Manifest("a" * 20, "tus", 0.0, None), segments=(Segment("1", 5),) * 500)
    await store.create(manifest.id, encode(manifest))
    changed = await sealed(store, manifest)
    assert (changed.offset, len(encode(changed)) < 5_000) == (2_500, True)
    assert await all_segments(store, changed) == [Segment("1", 5)] * 500


async def test_a_request_of_many_commits_keeps_its_record_small(tmp_path: Path) -> None:
    """As of a slow client over a bucket, where every commit is a segment of its own."""

    instance = Instance(store := SegmentPerCommit(tmp_path), limits=Limits(segment=4))
    got = await instance.got("POST", "/", WHOLE[:4])
    store.taken()
    body = Sending()
    for first in range(0, 2000, 4):
        body.send(WHOLE[first : first + 4])
    body.end()
    got = await instance.got("POST", "/", body)
    assert got.status == 200
    assert store.taken().written < 500 * 6_000
    assert await content(instance, got.id) == WHOLE[:2000]
    await check_nothing_unnamed(store)
