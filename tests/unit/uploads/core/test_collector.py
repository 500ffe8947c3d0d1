"""What a collection deletes, completes and leaves alone."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.unit.uploads.appending import TIMING, Clock, Held, append, begun, offset_of, under_way
from tests.unit.uploads.faulty import Faulty
from tests.unit.uploads.serving import Instance, content, settled

from changeover.uploads import CompletedUpload, FileStore, Limits, Response
from changeover.uploads.core.manifest import Manifest
from changeover.uploads.core.record import encode
from changeover.uploads.core.timing import UploadTiming


async def test_what_has_expired_is_collected_and_nothing_else(store: FileStore, tmp_path: Path) -> None:
    clock = Clock()
    instance = Instance(store, limits=Limits(max_age=60), now=clock)
    old = [await begun(instance, b"hel") for _ in range(5)]
    done = (await instance.got("POST", "/", b"hello")).id
    clock.now += 59
    new = await begun(instance, b"hel")
    assert await instance.engine.collector.collect() == 0
    clock.now += 1
    assert await instance.engine.collector.collect() == 5
    assert [(await instance.got("HEAD", f"/{id}")).status for id in old] == [404] * 5
    assert await offset_of(instance, new) == 3
    assert await content(instance, done) == b"hello"
    assert {path.relative_to(tmp_path).parts[1] for path in tmp_path.rglob("*") if path.is_file()} == {new, done}


async def test_what_is_done_is_kept_for_as_long_as_was_asked(store: FileStore) -> None:
    clock = Clock()
    instance = Instance(store, limits=Limits(max_age=60, keep_done=600), now=clock)
    id = (await instance.got("POST", "/", b"hello")).id
    clock.now += 599
    assert await content(instance, id) == b"hello"
    clock.now += 1
    assert (await instance.got("GET", f"/{id}/content")).status == 404
    assert await instance.engine.collector.collect() == 1


async def test_what_has_expired_is_collected_now_and_then_while_somebody_serves(
    store: FileStore, tmp_path: Path
) -> None:
    instance = Instance(store, limits=Limits(max_age=0), timing=UploadTiming(collect_interval=0.001))
    await instance.got("POST", "/", upload_complete="?0")
    assert [*tmp_path.glob("*/*")]
    async with instance.engine.collector.running():
        await settled(lambda: not [*tmp_path.glob("*/*")])


async def test_a_complete_upload_whose_client_and_whose_instance_are_gone_is_answered_all_the_same(
    store: FileStore,
) -> None:
    application, timing = Held(), UploadTiming(handler_lease=0.1)
    disk = Faulty(store)
    dead, alive = Instance(disk, application, timing=timing), Instance(store, timing=timing)
    id = await begun(dead)
    asked = asyncio.create_task(append(dead, id, 0, b"hello"))
    await settled(lambda: dead.finished)
    disk.hold()
    await alive.engine.collector.collect()
    assert not alive.finished  # it may be alive
    async with alive.engine.collector.running():  # looks again when the lease may be over
        await settled(lambda: alive.finished)
    await alive.engine.collector.collect()
    assert [it.attempt for it in alive.finished] == [2]
    assert (await append(alive, id, 5, b"")).body == b"thanks"
    disk.release()
    application.go_on.set()
    assert (await asked).status == 503


async def test_what_the_application_failed_on_is_asked_again_and_holds_no_collection_up(store: FileStore) -> None:
    clock, fails = Clock(), True

    def fail_at_first(_: CompletedUpload) -> Response:
        if fails:
            raise RuntimeError("not yet")
        return Response(200, (), b"thanks")

    async def handler(finished: CompletedUpload) -> Response:
        return fail_at_first(finished)

    instance = Instance(store, handler, limits=Limits(max_age=60), now=clock)
    failing = await begun(instance)
    assert (await append(instance, failing, 0, b"hello")).status == 503
    await begun(instance, b"hel")
    assert await instance.engine.collector.collect() == 0
    assert len(instance.finished) == 2
    fails = False
    await instance.engine.collector.collect()
    assert (await append(instance, failing, 5, b"")).body == b"thanks"
    assert len(instance.finished) == 3


async def test_pieces_of_a_whole_are_not_for_the_application(store: FileStore) -> None:
    instance = Instance(store)
    headers = {"tus_resumable": "1.0.0", "upload_concat": "partial", "upload_length": "5"}
    await instance.got("POST", "/", b"hello", content_type="application/offset+octet-stream", **headers)
    await instance.engine.collector.collect()
    assert not instance.finished


async def test_two_instances_can_collect_at_once(store: FileStore, tmp_path: Path) -> None:
    clock = Clock()
    a, b = (Instance(store, limits=Limits(max_age=60), now=clock) for _ in range(2))
    for _ in range(30):
        await begun(a, b"hel")
    clock.now += 60
    await asyncio.gather(a.engine.collector.collect(), b.engine.collector.collect())
    await a.engine.collector.collect()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


async def test_a_request_under_way_is_fenced_out_by_the_end_of_its_upload(store: FileStore) -> None:
    clock = Clock()
    a, b = (Instance(store, limits=Limits(max_age=60), now=clock) for _ in range(2))
    id = await begun(a)
    old, body = await under_way(a, id, 0, b"hel")
    clock.now += 60
    assert await b.engine.collector.collect() == 1
    body.end()
    assert (await old).status in (404, 503)
    assert not a.finished


async def test_an_upload_is_not_collected_while_the_application_is_asked_about_it(store: FileStore) -> None:
    clock, application = Clock(), Held()
    instance = Instance(store, application, limits=Limits(max_age=TIMING.handler_lease - 3), now=clock)
    asked = asyncio.create_task(instance.got("POST", "/", b"hello"))
    await settled(lambda: instance.finished)
    clock.now += TIMING.handler_lease - 1
    assert await instance.engine.collector.collect() == 0
    application.go_on.set()
    assert (await asked).status == 200


async def test_a_record_of_a_later_release_is_left_alone(store: FileStore) -> None:
    clock = Clock()
    instance = Instance(store, now=clock)
    record = json.loads(encode(Manifest("a" * 32, "tus", 0.0, 1.0)))
    await store.create("a" * 32, json.dumps({**record, "format": 3}).encode())
    assert await instance.engine.collector.collect() == 0
    assert await store.read("a" * 32)
