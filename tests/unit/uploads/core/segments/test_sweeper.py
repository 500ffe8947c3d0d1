"""Bytes that no record names are deleted: at once by the request, and by the collection what a killed process left."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.uploads.appending import begun, under_way
from tests.unit.uploads.bucket_stores import s3_store
from tests.unit.uploads.buckets import Service
from tests.unit.uploads.faulty import Faulty
from tests.unit.uploads.serving import Instance, Sending, content, settled
from tests.unit.uploads.unnamed import check_nothing_unnamed, stored_bytes

from changeover.uploads import FileStore, Limits, StoreUnavailable
from changeover.uploads.core.timing import UploadTiming
from changeover.uploads.stores.store import Segment, Store

WRONG = {"content_digest": "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"}
TUS = {"tus_resumable": "1.0.0"}


@pytest.fixture(params=["files", "S3"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "files":
        return FileStore(tmp_path, durable=False)
    return s3_store(request.getfixturevalue("s3").url)


async def in_parts(instance: Instance) -> str:
    found: str = json.loads((await instance.got("POST", "/?parts")).body)["id"]
    return found


async def test_a_part_that_is_replaced_leaves_no_byte(any_store: Store) -> None:
    instance = Instance(any_store)
    id = await in_parts(instance)
    for size in (50, 20, 60):
        assert (await instance.got("PUT", f"/{id}/parts/1", b"x" * size)).status == 200
        assert await stored_bytes(any_store, id) == size


async def test_a_part_that_is_refused_leaves_no_byte(any_store: Store) -> None:
    instance = Instance(any_store, limits=Limits(max_size=100, segment=8))
    id = await in_parts(instance)
    assert (await instance.got("PUT", f"/{id}/parts/1", b"x" * 60)).status == 200
    assert (await instance.got("PUT", f"/{id}/parts/2", b"x" * 40, **WRONG)).status == 400
    assert (await instance.got("PUT", f"/{id}/parts/2", b"x" * 41)).status == 413
    assert (await instance.got("PUT", f"/{id}/parts/1", b"x" * 101)).status == 413
    (body := Sending()).send(b"x" * 30)
    body.hang_up()
    assert await instance.ask("PUT", f"/{id}/parts/2", body) is None
    assert await stored_bytes(any_store, id) == 60
    await check_nothing_unnamed(any_store)


async def test_parts_that_are_not_joined_leave_no_byte(any_store: Store) -> None:
    instance = Instance(any_store)
    id = await in_parts(instance)
    for number in range(1, 4):
        await instance.got("PUT", f"/{id}/parts/{number}", b"x" * number)
    assert (await instance.got("POST", f"/{id}/complete", b'{"parts": [2]}')).status == 200
    assert await stored_bytes(any_store, id) == 2


async def test_an_append_whose_digest_is_refused_leaves_no_byte(any_store: Store) -> None:
    instance = Instance(any_store, limits=Limits(segment=8))
    id = await begun(instance, b"hello")
    headers = {"upload_offset": "5", "upload_complete": "?0", "content_type": "application/partial-upload"}
    for _ in range(3):
        assert (await instance.got("PATCH", f"/{id}", b"x" * 40, **headers, **WRONG)).status == 400
    assert await stored_bytes(any_store, id) == 5


async def test_parts_that_arrive_at_once_are_held_to_the_limit_together(store: FileStore) -> None:
    instance = Instance(store, limits=Limits(max_size=100, segment=8))
    id = await in_parts(instance)
    bodies = [Sending() for _ in range(4)]
    requests = [asyncio.create_task(instance.got("PUT", f"/{id}/parts/{n}", body)) for n, body in enumerate(bodies, 1)]
    for body in bodies[:3]:
        body.send(b"x" * 33)
        await settled(body.pieces.empty)
    bodies[3].send(b"x" * 2)
    assert (await requests[3]).status == 413
    assert await stored_bytes(store, id) <= 100
    for body in bodies[:3]:
        body.end()
    assert [(await request).status for request in requests[:3]] == [200] * 3


async def test_bytes_that_cannot_be_deleted_count_until_the_collection(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = Instance(store, limits=Limits(max_size=100))
    id = await in_parts(instance)
    assert (await instance.got("PUT", f"/{id}/parts/1", b"x" * 60)).status == 200
    with monkeypatch.context() as patched:

        async def trim(*_: object) -> None:
            raise StoreUnavailable("not now")

        patched.setattr(FileStore, "trim", trim)
        assert (await instance.got("PUT", f"/{id}/parts/1", b"x" * 60)).status == 200
    assert await stored_bytes(store, id) == 120
    assert (await instance.got("PUT", f"/{id}/parts/2", b"x" * 10)).status == 413
    for _ in range(2):
        await instance.engine.collector.collect()
    assert (await instance.got("PUT", f"/{id}/parts/2", b"x" * 10)).status == 200
    await check_nothing_unnamed(store)


async def test_a_partial_upload_that_is_named_many_times_is_stored_once(any_store: Store) -> None:
    times = 80  # as many as the bound on Upload-Concat allows
    instance = Instance(any_store, limits=Limits(max_size=times * 100))
    source = await instance.got("POST", "/", b"", upload_concat="partial", upload_length="100", **TUS)
    patch = {"upload_offset": "0", "content_type": "application/offset+octet-stream", **TUS}
    assert (await instance.got("PATCH", f"/{source.id}", bytes(range(100)), **patch)).status == 204
    place = source.headers["location"]
    got = await instance.got("POST", "/", upload_concat="final;" + " ".join([place] * times), **TUS)
    assert got.status == 201
    assert await content(instance, got.id) == bytes(range(100)) * times
    assert sum([segment.size for segment in await any_store.stored(got.id) if ".l" not in segment.name]) == 100
    got = await instance.got("POST", "/", upload_concat="final;" + " ".join([place] * (times + 1)), **TUS)
    assert got.status == 413
    await check_nothing_unnamed(any_store)


# -- what a killed or overtaken process left -------------------------------------------------------------------------


async def leave(store: Store, id: str, name: str) -> None:
    """A durable segment that no record names."""
    writer = store.writer(id, name)
    writer.write(b"left")
    await writer.commit()
    writer.close()


async def test_bytes_of_an_epoch_that_is_over_are_deleted_by_the_next_collection(any_store: Store) -> None:
    instance = Instance(any_store)
    id = await begun(instance, b"hello")
    epoch = json.loads((await any_store.read(id))[0])["epoch"]
    await leave(any_store, id, f"{epoch}.abc")
    await leave(any_store, id, str(epoch - 1))
    version = (await any_store.read(id))[1]
    await instance.engine.collector.collect()
    await check_nothing_unnamed(any_store)
    assert (await any_store.read(id))[1] == version


async def test_bytes_of_a_writer_that_may_commit_stay_for_one_collection_and_it_is_then_refused(
    store: FileStore, tmp_path: Path
) -> None:
    instance = Instance(store)
    other = Instance(disk := Faulty(FileStore(tmp_path, durable=False)))
    id = await in_parts(instance)
    disk.hold("swap")
    request = asyncio.create_task(other.got("PUT", f"/{id}/parts/1", b"hello"))
    await settled(lambda: disk.waiting)
    await instance.engine.collector.collect()
    assert await stored_bytes(store, id) == 5
    await instance.engine.collector.collect()
    assert await stored_bytes(store, id) == 0
    disk.release()
    assert (await request).status == 503
    assert (await other.got("PUT", f"/{id}/parts/1", b"hello")).status == 200
    await check_nothing_unnamed(store)


async def test_a_writer_that_goes_on_between_two_collections_is_left_alone(store: FileStore, tmp_path: Path) -> None:
    instance = Instance(store, limits=Limits(segment=4))
    id = await in_parts(instance)
    body = Sending()
    request = asyncio.create_task(instance.got("PUT", f"/{id}/parts/1", body))
    for _ in range(4):
        body.send(b"more")
        await settled(body.pieces.empty)
        await instance.engine.collector.collect()
    body.end()
    assert (await request).status == 200
    assert await stored_bytes(store, id) == 16


async def test_the_tail_that_a_sleeping_writer_has_behind_its_commit_is_cut_off_and_it_is_refused(
    store: FileStore, tmp_path: Path
) -> None:
    instance = Instance(store)
    asleep = Instance(disk := Faulty(FileStore(tmp_path, durable=False)), timing=UploadTiming(idle_commit=0.01))
    id = await begun(instance)
    request, body = await under_way(asleep, id, 0, b"named")
    await settled(lambda: _named(store, tmp_path))
    disk.hold("commit")
    body.send(b"not named")
    await settled(lambda: disk.waiting)
    for _ in range(3):
        await instance.engine.collector.collect()
    await check_nothing_unnamed(store)
    body.hang_up()
    disk.release()
    await asyncio.gather(request, return_exceptions=True)
    assert (await stored_bytes(store, id), await instance.engine.collector.collect()) == (5, 0)
    await check_nothing_unnamed(store)


def _named(store: FileStore, root: Path) -> bool:
    return any(b'"size":5' in path.read_bytes() for path in root.rglob("record.*"))


async def test_a_segment_that_arrives_while_its_upload_is_dropped_is_deleted_by_the_collection(s3: Service) -> None:
    store = s3_store(s3.url)
    instance = Instance(store)
    id = await begun(instance, b"hello")
    assert (await instance.got("DELETE", f"/{id}")).status == 204
    await leave(store, id, "9.late")
    assert await store.stored(id) == [Segment("9.late-0", 4)]
    await instance.engine.collector.collect()
    assert await store.stored(id) == []
    assert [each async for each in store.ids()] == []


async def test_an_upload_that_does_not_change_is_not_listed_again_and_again(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = Instance(store)
    await instance.got("POST", "/", b"hello")
    listings = []
    original = store.stored

    async def stored(id: str) -> Any:
        listings.append(id)
        return await original(id)

    monkeypatch.setattr(store, "stored", stored)
    for _ in range(5):
        await instance.engine.collector.collect()
    assert len(listings) == 2


# -- any sequence ----------------------------------------------------------------------------------------------------

sizes = st.integers(0, 40)
steps = st.one_of(
    st.tuples(st.just("part"), st.integers(1, 3), sizes),
    st.tuples(st.just("refused part"), st.integers(1, 3), sizes),
    st.tuples(st.just("cut part"), st.integers(1, 3), sizes),
    st.tuples(st.just("killed part"), st.integers(1, 3), sizes),
    st.tuples(st.just("append"), st.just(0), sizes),
    st.tuples(st.just("refused append"), st.just(0), sizes),
    st.tuples(st.just("killed append"), st.just(0), sizes),
    st.tuples(st.just("join"), st.integers(1, 3), sizes),
    st.tuples(st.just("cancel"), st.integers(0, 1), sizes),
    st.tuples(st.just("collect"), st.just(0), sizes),
)


@settings(max_examples=40, deadline=None)
@given(taken=st.lists(steps, max_size=15))
def test_after_any_sequence_and_collections_the_store_has_what_records_name(
    tmp_path_factory: pytest.TempPathFactory, taken: list[tuple[str, int, int]]
) -> None:
    asyncio.run(_run(FileStore(tmp_path_factory.mktemp("uploads"), durable=False), taken))


def _stopped(disk: Faulty, request: asyncio.Task[Any]) -> bool:
    return disk.waiting > 0 or request.done()


async def _run(store: FileStore, taken: list[tuple[str, int, int]]) -> None:
    instance = Instance(store, limits=Limits(max_size=60, segment=8))
    ids = [await in_parts(instance), await begun(instance)]
    for step, number, size in taken:
        disk = Faulty(store)
        part = ("PUT", f"/{ids[0]}/parts/{number}")
        offset = (await instance.got("HEAD", f"/{ids[1]}")).headers.get("upload-offset", "0")
        append = ("PATCH", f"/{ids[1]}")
        headers = {"upload_offset": offset, "upload_complete": "?0", "content_type": "application/partial-upload"}
        method, path = part if "part" in step else append
        headers = {} if "part" in step else headers
        match step.split()[0]:
            case "part" | "append":
                await instance.got(method, path, b"x" * size, **headers)
            case "refused":
                await instance.got(method, path, b"x" * size, **headers, **WRONG)
            case "cut":
                (body := Sending()).send(b"x" * size)
                body.hang_up()
                await instance.ask(method, path, body, **headers)
            case "killed":
                disk.hold("swap")
                killed = Instance(disk, limits=Limits(max_size=60, segment=8))
                request = asyncio.create_task(killed.ask(method, path, b"x" * size, **headers))
                await settled(partial(_stopped, disk, request))
                disk.kill()
                await asyncio.gather(request, return_exceptions=True)
            case "join":
                await instance.got("POST", f"/{ids[0]}/complete", json.dumps({"parts": [number]}).encode())
            case "cancel":
                await instance.got("DELETE", f"/{ids[number]}")
            case "collect":
                await instance.engine.collector.collect()
    for _ in range(3):
        await instance.engine.collector.collect()
    await check_nothing_unnamed(store)
    await instance.engine.completion.wait_until_idle()
