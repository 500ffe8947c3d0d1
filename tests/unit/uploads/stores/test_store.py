"""What every store promises, asked of every store there is."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.uploads.bucket_stores import gcs_store, s3_store
from tests.unit.uploads.storing import ID, asynchronous, content, ids, written

from changeover.uploads.core.errors import TooManyUploads
from changeover.uploads.core.limits.quota import Quota
from changeover.uploads.stores.files import FileStore
from changeover.uploads.stores.store import RecordChanged, RecordMissing, Segment, Store, StoreUnavailable

MIB = 1024 * 1024


@pytest.fixture(params=["files", "durable files", "S3", "Google"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    match request.param:
        case "files":
            return FileStore(tmp_path, durable=False)
        case "durable files":
            return FileStore(tmp_path)
        case "S3":
            return s3_store(request.getfixturevalue("s3").url)
    return gcs_store(request.getfixturevalue("gcs").url)


# -- records -------------------------------------------------------------------------------------------------------


@asynchronous
async def test_a_record_is_read_as_it_was_written(store: Store) -> None:
    version = await store.create(ID, b"one\ntwo\x00")
    assert await store.read(ID) == (b"one\ntwo\x00", version)


@asynchronous
async def test_a_record_is_made_once(store: Store) -> None:
    version = await store.create(ID, b"first")
    with pytest.raises(RecordChanged):
        await store.create(ID, b"second")
    assert await store.read(ID) == (b"first", version)


@asynchronous
async def test_a_record_that_has_changed_often_is_not_made_again_either(store: Store) -> None:
    version = await store.create(ID, b"0")
    for number in range(1, 4):
        version = await store.swap(ID, b"%d" % number, version)
    with pytest.raises(RecordChanged):
        await store.create(ID, b"again")
    assert await store.read(ID) == (b"3", version)


@asynchronous
async def test_there_is_nothing_to_read_or_to_swap_where_nothing_was_made(store: Store) -> None:
    version = await store.create(ID, b"record")
    other = "another-upload-of-these"
    with pytest.raises(RecordMissing):
        await store.read(other)
    with pytest.raises(RecordMissing):
        await store.swap(other, b"record", version)
    assert await ids(store) == [ID]


@asynchronous
async def test_a_swap_replaces_the_record_and_gives_it_a_version(store: Store) -> None:
    first = await store.create(ID, b"one")
    second = await store.swap(ID, b"two", first)
    assert second != first
    assert await store.read(ID) == (b"two", second)


@asynchronous
async def test_a_swap_from_an_older_version_changes_nothing(store: Store) -> None:
    first = await store.create(ID, b"one")
    second = await store.swap(ID, b"two", first)
    with pytest.raises(RecordChanged):
        await store.swap(ID, b"three", first)
    assert await store.read(ID) == (b"two", second)


@asynchronous
async def test_a_record_that_is_again_what_it_was_has_another_version_all_the_same(store: Store) -> None:
    first = await store.create(ID, b"one")
    third = await store.swap(ID, b"one", await store.swap(ID, b"two", first))
    with pytest.raises(RecordChanged):
        await store.swap(ID, b"from a holder that slept", first)
    assert await store.read(ID) == (b"one", third)


@asynchronous
async def test_of_swaps_that_race_exactly_one_wins(store: Store) -> None:
    version = await store.create(ID, b"")

    async def swap(record: bytes) -> str | None:
        try:
            return await store.swap(ID, record, version)
        except RecordChanged:
            return None

    for number in range(12):
        records = [b"%d by %d" % (number, who) for who in range(6)]
        versions = await asyncio.gather(*(swap(record) for record in records))
        winners = [(record, new) for record, new in zip(records, versions, strict=True) if new is not None]
        assert len(winners) == 1
        assert await store.read(ID) == winners[0]
        version = winners[0][1]


@asynchronous
async def test_of_those_who_make_the_same_upload_at_once_exactly_one_wins(store: Store) -> None:
    made = await asyncio.gather(*(store.create(ID, b"%d" % who) for who in range(6)), return_exceptions=True)
    winners = [who for who, version in enumerate(made) if isinstance(version, str)]
    assert len(winners) == 1
    assert all(isinstance(other, RecordChanged) for other in made if not isinstance(other, str))
    assert (await store.read(ID))[0] == b"%d" % winners[0]


@asynchronous
async def test_readers_see_whole_records_that_held_while_others_swap(store: Store) -> None:
    version = await store.create(ID, b"0" * 4000)
    seen: list[int] = []

    async def read() -> None:
        while not seen or seen[-1] < 15:
            record, _ = await store.read(ID)
            assert len(record) == 4000
            seen.append(int(record))

    reading = asyncio.ensure_future(read())
    for number in range(1, 16):
        version = await store.swap(ID, b"%04000d" % number, version)
    await asyncio.wait_for(reading, 20)
    assert seen == sorted(seen)


# -- bytes ---------------------------------------------------------------------------------------------------------


@asynchronous
async def test_committed_bytes_are_there_with_their_size(store: Store) -> None:
    await store.create(ID, b"record")
    segments = await written(store, "1", b"some bytes")
    assert [segment.size for segment in segments] == [10]
    assert await content(store, segments) == b"some bytes"


@asynchronous
async def test_a_writer_may_commit_again_and_again(store: Store) -> None:
    await store.create(ID, b"record")
    segments = await written(store, "1", b"one ", b"two ", b"three")
    assert sum(segment.size for segment in segments) == 13
    assert await content(store, segments) == b"one two three"


@asynchronous
async def test_a_commit_of_nothing_makes_no_segment(store: Store) -> None:
    await store.create(ID, b"record")
    writer = store.writer(ID, "1")
    assert list(await writer.commit()) == []
    writer.write(b"x")
    assert len(await writer.commit()) == 1
    assert list(await writer.commit()) == []
    writer.close()


@asynchronous
async def test_what_was_written_may_be_reused_at_once_whatever_it_is_made_of(store: Store) -> None:
    await store.create(ID, b"record")
    writer = store.writer(ID, "1")
    reused = bytearray(b"abc")
    writer.write(reused)
    reused[:] = b"def"
    writer.write(memoryview(reused))
    reused[:] = b"xyz"
    segments = await writer.commit()
    writer.close()
    assert await content(store, segments) == b"abcdef"


@asynchronous
async def test_what_comes_while_a_commit_is_under_way_belongs_to_the_next(store: Store) -> None:
    await store.create(ID, b"record")
    writer = store.writer(ID, "1")
    writer.write(b"one ")
    committing = asyncio.ensure_future(writer.commit())
    await asyncio.sleep(0)
    writer.write(b"two")
    first = await committing
    assert await content(store, first) == b"one "
    segments = {segment.name: segment for segment in [*first, *await writer.commit()]}
    writer.close()
    assert await content(store, list(segments.values())) == b"one two"


@asynchronous
async def test_bytes_that_were_not_committed_are_not_there_afterwards(store: Store) -> None:
    await store.create(ID, b"record")
    writer = store.writer(ID, "1")
    writer.write(b"kept")
    kept = list(await writer.commit())
    writer.write(b" and not kept")
    writer.close()
    writer.close()
    other = await written(store, "2", b", then another's")
    assert await content(store, [*kept, *other]) == b"kept, then another's"


@asynchronous
async def test_a_writer_that_is_closed_twice_closes_nothing_of_others(store: Store) -> None:
    await store.create(ID, b"record")
    first = store.writer(ID, "1")
    first.write(b"rejected")
    first.close()
    second = store.writer(ID, "2")
    second.write(b"whole")
    first.close()
    segments = await second.commit()
    second.close()
    assert await content(store, segments) == b"whole"


@asynchronous
async def test_bytes_are_read_from_any_start_across_segments(store: Store) -> None:
    await store.create(ID, b"record")
    segments = [
        *await written(store, "1", b"abc"),
        *await written(store, "2", b"d"),
        *await written(store, "3", b"efg"),
    ]
    for start in range(9):
        assert await content(store, segments, start) == b"abcdefg"[start:]
    assert await content(store, segments[1:2] + segments[:1]) == b"dabc"


@asynchronous
async def test_bytes_come_in_pieces_of_at_most_a_mebibyte(store: Store) -> None:
    await store.create(ID, b"record")
    whole = secrets.token_bytes(2 * MIB + 5)
    segments = await written(store, "1", whole)
    sizes = [len(piece) async for piece in store.pieces(ID, segments, 3)]
    assert sizes == [MIB, MIB, 2]
    assert await content(store, segments, 3) == whole[3:]


@asynchronous
async def test_a_segment_that_is_shorter_than_its_record_says_is_not_passed_off_as_whole(store: Store) -> None:
    await store.create(ID, b"record")
    (segment,) = await written(store, "1", b"short")
    with pytest.raises(StoreUnavailable, match="shorter"):
        await content(store, [Segment(segment.name, 50)])


@asynchronous
async def test_bytes_that_are_gone_are_missing(store: Store) -> None:
    await store.create(ID, b"record")
    with pytest.raises(RecordMissing):
        await content(store, [Segment("7-0", 5)])


# -- all of them ---------------------------------------------------------------------------------------------------


@asynchronous
async def test_every_upload_is_listed(store: Store) -> None:
    assert await ids(store) == []
    made = sorted(secrets.token_urlsafe(24) for _ in range(17))
    for id in made:
        await store.create(id, b"record")
    assert await ids(store) == made


@asynchronous
async def test_an_upload_of_many_segments_is_listed_once_and_dropped_whole(store: Store) -> None:
    await store.create(ID, b"record")
    segments = [(await written(store, f"part-{number}", b"x"))[0] for number in range(11)]
    assert await ids(store) == [ID]
    await store.drop(ID)
    assert await ids(store) == []
    for segment in segments:
        with pytest.raises(RecordMissing):
            await content(store, [segment])


@asynchronous
async def test_what_is_dropped_is_gone_for_readers_and_writers(store: Store) -> None:
    version = await store.create(ID, b"record")
    segments = await written(store, "1", b"bytes")
    await store.drop(ID)
    with pytest.raises(RecordMissing):
        await store.read(ID)
    with pytest.raises(RecordMissing):
        await store.swap(ID, b"more", version)
    with pytest.raises(RecordMissing):
        await content(store, segments)
    assert await ids(store) == []


@asynchronous
async def test_dropping_twice_at_once_or_what_never_was_is_no_error(store: Store) -> None:
    await store.create(ID, b"record")
    for number in range(7):
        await written(store, f"{number}", b"bytes")
    await asyncio.gather(*(store.drop(ID) for _ in range(4)))
    await store.drop(ID)
    await store.drop("never-was-an-upload-here")
    assert await ids(store) == []


@asynchronous
async def test_dropping_one_leaves_the_others_alone(store: Store) -> None:
    other = ID + "-2"
    await store.create(other, b"other")
    await store.create(ID, b"record")
    await store.drop(ID)
    assert await ids(store) == [other]
    assert (await store.read(other))[0] == b"other"


@pytest.mark.parametrize(
    "id",
    [
        "../../../etc/passwd",
        "..",
        "",
        "/etc/passwd-is-long-enough",
        f"{ID}/../{ID}",
        f"{ID}/record",
        f"{ID}\n",
        f"{ID}\0",
        "%2e%2e%2fetc%2fpasswd",
        "ümlaute-sind-auch-keine",
        "short",
        "x" * 65,
    ],
)
@asynchronous
async def test_what_cannot_be_an_id_is_missing_and_never_a_path(store: Store, id: str) -> None:
    version = await store.create(ID, b"record")
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: store.read(id),
        lambda: store.create(id, b""),
        lambda: store.swap(id, b"", version),
        lambda: store.drop(id),
    ]
    for ask in calls:
        with pytest.raises(RecordMissing):
            await ask()
    with pytest.raises(RecordMissing):
        store.writer(id, "1")
    with pytest.raises(RecordMissing):
        await anext(aiter(store.pieces(id, [Segment("1", 1)])))
    assert await ids(store) == [ID]


# -- owners ----------------------------------------------------------------------------------------------------------


@asynchronous
async def test_an_owner_who_is_at_the_limit_is_refused_whoever_is_asked(store: Store) -> None:
    """Which asks of a store what an upload asks of it, and no more."""
    owner, finished = secrets.token_hex(8), set[str]()

    async def is_unfinished(id: str) -> bool:
        return id not in finished

    instances = [Quota(store, 3, is_unfinished) for _ in range(2)]
    taken = await asyncio.gather(*(instances[n % 2].enter(owner, f"{n}") for n in range(6)), return_exceptions=True)
    assert [type(each) for each in taken if each is not None] == [TooManyUploads] * 3
    with pytest.raises(TooManyUploads):
        await instances[0].check(owner)
    finished.add(f"{taken.index(None)}")
    await instances[1].enter(owner, "another")
    with pytest.raises(TooManyUploads):
        await instances[0].enter(owner, "one more")
