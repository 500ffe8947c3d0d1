"""A shutdown interrupts requests whose client can continue elsewhere, and takes no new ones."""

from __future__ import annotations

import asyncio

from tests.unit.uploads.appending import TIMING, Held, append, begun, offset_of, under_way
from tests.unit.uploads.faulty import Faulty
from tests.unit.uploads.serving import Instance, content, settled

from changeover.uploads import FileStore
from changeover.uploads.core.manifest import UploadState
from changeover.uploads.core.timing import UploadTiming


async def test_who_leaves_keeps_what_came_and_sends_everybody_on_within_a_second(store: FileStore) -> None:
    a, b = Instance(store), Instance(store)
    ids = [await begun(a) for _ in range(20)]
    requests = [(await under_way(a, id, 0, b"hel"))[0] for id in ids]
    async with asyncio.timeout(1):
        await a.engine.leave()
        got = await asyncio.gather(*requests)
    assert {(each.status, each.headers["upload-offset"]) for each in got} == {(503, "3")}
    for id in ids:
        assert (await append(b, id, 3, b"lo")).status == 200
        assert await content(b, id) == b"hello"


async def test_who_leaves_takes_nothing_new(instance: Instance) -> None:
    id = await begun(instance)
    await instance.engine.leave()
    for got in (
        await append(instance, id, 0, b"hello"),
        await instance.got("POST", "/", b"hello"),
        await instance.got("POST", "/", upload_complete="?0"),
    ):
        assert (got.status, got.headers["retry-after"]) == (503, "1")
    assert await offset_of(instance, id) == 0  # an offset retrieval still succeeds


async def test_who_leaves_does_not_wait_for_the_answer_another_one_gets(store: FileStore) -> None:
    application = Held()
    a, b = Instance(store, application), Instance(store)
    id = await begun(a)
    asked = asyncio.create_task(append(a, id, 0, b"hello"))
    await settled(lambda: a.finished)
    waiting = asyncio.create_task(append(b, id, 5, b""))
    assert not (await asyncio.wait([waiting], timeout=3 * TIMING.response_poll))[0]
    async with asyncio.timeout(1):
        await b.engine.leave()
        assert (await waiting).status == 503
    application.go_on.set()
    assert (await asked).status == 200


async def test_who_leaves_waits_for_its_application(store: FileStore) -> None:
    application = Held()
    instance = Instance(store, application)
    async with instance.app.running():
        request = asyncio.create_task(instance.got("POST", "/", b"hello"))
        await settled(lambda: instance.finished)
        request.cancel()
        asyncio.get_running_loop().call_later(0.05, application.go_on.set)
    assert (await instance.engine.find(instance.finished[0].id, "")).state is UploadState.DONE


async def test_who_leaves_does_not_wait_for_a_disk_for_ever(store: FileStore) -> None:
    disk = Faulty(store)
    instance = Instance(disk, timing=UploadTiming(interrupt_timeout=0.05))
    id = await begun(instance)
    old, _ = await under_way(instance, id, 0, b"hel")
    disk.hold("commit")
    async with asyncio.timeout(1):
        await instance.engine.leave()
    disk.release()
    assert (await old).status == 503


async def test_a_plain_upload_that_is_created_during_the_shutdown_ends_like_any_other(store: FileStore) -> None:
    disk = Faulty(store)
    instance = Instance(disk)
    disk.hold("read")  # between its creation and its first byte
    task = asyncio.create_task(instance.got("POST", "/", b"hello"))
    await settled(lambda: disk.waiting)
    await instance.engine.leave()
    disk.release()
    assert (await task).status == 200


async def test_a_part_is_refused_during_the_shutdown(instance: Instance) -> None:
    id = (await instance.got("POST", "/?parts")).id
    await instance.engine.leave()
    assert (await instance.got("PUT", f"/{id}/parts/1", b"hello")).status == 503


async def test_a_plain_upload_whose_record_is_still_on_its_way_at_the_shutdown_ends_too(store: FileStore) -> None:
    disk = Faulty(store)
    instance = Instance(disk)
    disk.hold("create")
    task = asyncio.create_task(instance.got("POST", "/", b"hello"))
    await settled(lambda: disk.waiting)
    await instance.engine.leave()
    disk.release()
    assert (await task).status == 200
