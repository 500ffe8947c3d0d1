"""What holds whatever the dialect: takeover, fencing, one answer, leaving, expiry, limits."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from tests.unit.uploads.faulty import Faulty
from tests.unit.uploads.serving import Got, Instance, Sending, content, settled

from changeover.uploads import CompletedUpload, FileStore, Limits, Response
from changeover.uploads.core.manifest import Manifest, UploadState
from changeover.uploads.core.record import encode
from changeover.uploads.core.timing import UploadTiming
from changeover.uploads.stores.store import RecordVersion

PARTIAL = "application/partial-upload"
Seen = TypeVar("Seen")

TIMING = UploadTiming()


async def begun(instance: Instance, body: bytes = b"", **headers: str) -> str:
    return (await instance.got("POST", "/", body, upload_complete="?0", **headers)).id


async def append(instance: Instance, id: str, offset: int, body: bytes | Sending, *, complete: bool = True) -> Got:
    said = {"upload_offset": str(offset), "upload_complete": f"?{complete:d}", "content_type": PARTIAL}
    return await instance.got("PATCH", f"/{id}", body, **said)


async def offset_of(instance: Instance, id: str) -> int:
    return int((await instance.got("HEAD", f"/{id}")).headers["upload-offset"])


async def under_way(instance: Instance, id: str, offset: int, body: bytes) -> tuple[asyncio.Task[Got], Sending]:
    """An append that has sent this much and goes on."""
    sending = Sending()
    task = asyncio.create_task(append(instance, id, offset, sending))
    sending.send(body)
    await settled(sending.pieces.empty)
    return task, sending


class Held:
    """An application that answers when it is told to."""

    def __init__(self, answer: bytes = b"thanks") -> None:
        self.go_on = asyncio.Event()
        self.answer = answer

    async def __call__(self, _: CompletedUpload) -> Response:
        await self.go_on.wait()
        return Response(200, (), self.answer)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


# -- takeover --------------------------------------------------------------------------------------------------------


async def test_a_request_that_is_taken_over_keeps_what_came_and_is_told(instance: Instance) -> None:
    id = await begun(instance)
    old, _ = await under_way(instance, id, 0, b"hel")
    assert (await append(instance, id, 0, b"hello")).status == 409
    assert ((await old).status, (await old).headers["upload-offset"]) == (503, "3")
    assert (await append(instance, id, 3, b"lo")).status == 200
    assert await content(instance, id) == b"hello"


async def test_what_another_instance_took_over_gets_no_byte_from_the_old_one(store: FileStore) -> None:
    a, b = Instance(store), Instance(store)
    id = await begun(a)
    old, body = await under_way(a, id, 0, b"HEL")
    at = await offset_of(b, id)
    assert (await append(b, id, at, b"hello"[at:])).status == 200
    body.send(b"LO")
    body.end()
    assert (await old).status == 503
    assert await content(b, id) == b"HELlo"[:at] + b"hello"[at:]
    assert len(a.finished) + len(b.finished) == 1


async def test_the_client_of_a_fenced_request_is_told_as_soon_as_something_is_to_be_committed(store: FileStore) -> None:
    a, b = Instance(store), Instance(store)
    id = await begun(a)
    old, body = await under_way(a, id, 0, b"hel")
    await offset_of(b, id)
    body.send(b"lo")  # and no end
    got = await old
    assert (got.status, got.headers["upload-complete"]) == (503, "?0")


async def test_a_paused_instance_that_wakes_is_fenced_out(store: FileStore) -> None:
    disk = Faulty(store)
    a, b = Instance(disk), Instance(store)
    id = await begun(a)
    old, body = await under_way(a, id, 0, b"HELLO")
    disk.hold()
    body.end()
    await settled(lambda: disk.waiting)
    assert await offset_of(b, id) == 0
    assert (await append(b, id, 0, b"hello")).status == 200
    disk.release()
    assert (await old).status == 503
    assert not a.finished
    assert await content(b, id) == b"hello"


async def test_an_offset_that_was_told_holds_against_a_request_on_another_instance(store: FileStore) -> None:
    a, b = Instance(store), Instance(store)
    id = await begun(a)
    old, body = await under_way(a, id, 0, b"hel")
    at = await offset_of(b, id)
    body.end()
    assert (await old).status == 503
    assert await offset_of(b, id) == at


async def test_bytes_for_another_offset_end_what_is_under_way_elsewhere_too(store: FileStore) -> None:
    """What is answered must stay true: the holder may be about to commit more."""
    a, b = Instance(store), Instance(store)
    id = await begun(a)
    old, body = await under_way(a, id, 0, b"hel")
    got = await append(b, id, 4, b"o")
    assert got.status == 409
    body.end()
    assert (await old).status == 503
    assert await offset_of(b, id) == int(got.headers["upload-offset"])


async def test_a_holder_that_does_not_let_go_is_fenced_out(store: FileStore) -> None:
    disk = Faulty(store)
    instance = Instance(disk, timing=UploadTiming(interrupt_timeout=0.05))
    id = await begun(instance)
    old, body = await under_way(instance, id, 0, b"HELLO")
    disk.hold("commit")
    body.end()
    await settled(lambda: disk.waiting)
    assert await offset_of(instance, id) == 0
    disk.release()
    assert (await old).status == 503
    assert (await append(instance, id, 0, b"hello")).status == 200
    assert await content(instance, id) == b"hello"


async def test_many_requests_at_once_leave_one_upload(store: FileStore) -> None:
    """Every one of them breaks off the one before it; each is answered, and the bytes are right."""
    instances = [Instance(store) for _ in range(3)]
    id = await begun(instances[0])
    got = await asyncio.gather(*(append(instances[n % 3], id, 0, b"hello") for n in range(12)))
    assert {each.status for each in got} <= {200, 409, 503}
    if all(each.status != 200 for each in got):
        assert (await append(instances[0], id, at := await offset_of(instances[0], id), b"hello"[at:])).status == 200
    assert await content(instances[0], id) == b"hello"
    assert sum(len(instance.finished) for instance in instances) == 1


# -- races with the end of an upload ---------------------------------------------------------------------------------


async def raced(store: FileStore, late: Callable[[Instance, str], Awaitable[Seen]]) -> tuple[Instance, str, Seen]:
    """Another instance saw the upload unfinished; before it can write, it is complete and the application is asked."""
    application = Held()
    a, disk = Instance(store, application), Faulty(store)
    b = Instance(disk)
    id = await begun(a)
    old, body = await under_way(a, id, 0, b"hello")
    await settled_offset(a, id, 5)
    disk.hold("swap")
    slow = asyncio.ensure_future(late(b, id))
    await settled(lambda: disk.waiting)
    body.end()
    await settled(lambda: a.finished)
    disk.release()
    got = await slow
    assert (await a.engine.find(id, "")).holder  # it still has its lease
    application.go_on.set()
    assert (await old).status == 200
    assert not b.finished
    return a, id, got


async def settled_offset(instance: Instance, id: str, offset: int) -> None:
    async with asyncio.timeout(10):
        while (await instance.engine.find(id, "")).offset < offset:
            await asyncio.sleep(0.01)


async def test_a_question_that_came_too_late_leaves_the_answer_to_whoever_asks_for_it(store: FileStore) -> None:
    _, _, manifest = await raced(store, lambda b, id: b.engine.fence(id, ""))
    assert (manifest.offset, manifest.state) == (5, UploadState.COMPLETE)


async def test_bytes_that_came_too_late_are_not_added_to_a_complete_upload(store: FileStore) -> None:
    a, id, got = await raced(store, lambda b, id: append(b, id, 5, b"!", complete=False))
    assert got.status == 400
    assert await content(a, id) == b"hello"


# -- committing ------------------------------------------------------------------------------------------------------


async def test_what_arrived_is_there_for_others_although_the_request_goes_on(store: FileStore) -> None:
    a, b = Instance(store), Instance(store)
    id = await begun(a)
    task, body = await under_way(a, id, 0, b"hel")
    await settled_offset(b, id, 3)
    body.send(b"lo")
    body.end()
    assert (await task).status == 200
    assert await content(b, id) == b"hello"


async def test_what_trickles_is_committed_too(store: FileStore) -> None:
    instance = Instance(store, timing=UploadTiming(idle_commit=0.02, max_commit_delay=0.04))
    id = await begun(instance)
    task, body = await under_way(instance, id, 0, b"x")
    async with asyncio.timeout(10):
        while (await instance.engine.find(id, "")).offset == 0:
            body.send(b"x")  # never still
            await asyncio.sleep(0.001)
    body.end()
    assert (await task).status == 200


async def test_a_full_segment_is_committed(store: FileStore) -> None:
    instance = Instance(store, limits=Limits(segment=4))
    id = await begun(instance)
    task, body = await under_way(instance, id, 0, b"hell")
    await settled_offset(instance, id, 4)
    body.send(b"o")
    body.end()
    assert (await task).status == 200
    assert await content(instance, id) == b"hello"


async def test_a_commit_that_falls_due_while_a_slow_one_ends_is_not_made_beside_the_next(tmp_path: Path) -> None:
    class Stalling(Faulty):
        async def swap(self, id: str, record: bytes, version: RecordVersion) -> RecordVersion:
            version = await super().swap(id, record, version)
            time.sleep(0.005)  # noqa: ASYNC251 - the loop stands still, and every timer is due when it goes on
            return version

    timing = UploadTiming(idle_commit=0.002)
    instance = Instance(Stalling(FileStore(tmp_path)), limits=Limits(segment=1000), timing=timing)
    id = await begun(instance)
    sending = Sending()
    for _ in range(50):
        sending.send(b"x" * 999)
        sending.send(b"y" * 999)
    sending.end()
    got = await append(instance, id, 0, sending)
    assert (got.status, got.headers["upload-offset"]) == (200, "99900")


async def test_no_byte_is_lost_of_a_client_that_hangs_up_again_and_again(instance: Instance) -> None:
    whole = bytes(range(100))
    id = await begun(instance)
    at = 0
    while at < len(whole):
        body = Sending()
        body.send(whole[at : at + 7])
        body.hang_up()
        said = {"upload_offset": str(at), "upload_complete": "?1", "content_type": PARTIAL}
        assert await instance.ask("PATCH", f"/{id}", body, **said) is None
        at = min(at + 7, len(whole))
        assert await offset_of(instance, id) == at
    assert (await append(instance, id, at, b"")).status == 200
    assert await content(instance, id) == whole


async def test_a_disk_that_is_full_is_told_and_what_was_committed_stays(store: FileStore) -> None:
    disk = Faulty(store)
    instance = Instance(disk)
    id = await begun(instance, b"he")
    task, body = await under_way(instance, id, 2, b"l")
    disk.full = True
    body.send(b"lo")
    got = await task
    assert (got.status, b"no room" in got.body) == (507, True)
    disk.full = False
    assert await offset_of(instance, id) == 2
    assert (await append(instance, id, 2, b"llo")).status == 200
    assert await content(instance, id) == b"hello"


# -- the answer ------------------------------------------------------------------------------------------------------


async def test_the_application_is_asked_once_though_two_clients_finish_at_once(store: FileStore) -> None:
    a, b = Instance(store), Instance(store)
    for _ in range(5):
        made = await a.got("POST", "/?parts")
        id = json.loads(made.body)["id"]
        await a.got("PUT", f"/{id}/parts/1", b"hello")
        got = await asyncio.gather(*(each.got("POST", f"/{id}/complete") for each in (a, b)))
        assert [(each.status, each.body) for each in got] == [(200, b"thanks")] * 2
    assert len(a.finished) + len(b.finished) == 5


async def test_an_application_that_fails_is_asked_again(store: FileStore) -> None:
    async def once(finished: CompletedUpload) -> Response:
        if finished.attempt == 1:
            raise RuntimeError("no database")
        return Response(200, (), f"attempt {finished.attempt}".encode())

    a, b = Instance(store, once), Instance(store, once)
    id = await begun(a)
    got = await append(a, id, 0, b"hello")
    assert got.status == 503
    assert b"application failed" in got.body
    assert (await append(b, id, 5, b"")).body == b"attempt 2"
    assert a.finished[0].id == b.finished[0].id == id  # the key by which an application knows it again


async def test_an_application_whose_client_hung_up_is_left_to_finish(store: FileStore) -> None:
    application = Held()
    instance = Instance(store, application)
    id = await begun(instance)
    asking = asyncio.create_task(append(instance, id, 0, b"hello"))
    await settled(lambda: instance.finished)
    asking.cancel()
    await asyncio.wait([asking])
    application.go_on.set()
    assert (await append(instance, id, 5, b"")).body == b"thanks"
    assert len(instance.finished) == 1
    await instance.engine.completion.wait_until_idle()


async def test_an_instance_that_died_while_it_asked_is_waited_for_no_longer_than_its_lease(store: FileStore) -> None:
    clock, dead = Clock(), Held(b"too late")
    a, b = Instance(store, dead, now=clock), Instance(store, now=clock)
    id = await begun(a)
    asked = asyncio.create_task(append(a, id, 0, b"hello"))
    await settled(lambda: a.finished)
    waiting = asyncio.create_task(append(b, id, 5, b""))
    clock.now += TIMING.handler_lease - 1
    assert not (await asyncio.wait([waiting], timeout=3 * TIMING.response_poll))[0]
    clock.now += 1
    assert (await waiting).body == b"thanks"
    assert b.finished[0].attempt == 2
    dead.go_on.set()  # it was not dead: its answer is not the one that counts
    assert (await asked).status == 503
    assert (await append(b, id, 5, b"")).body == b"thanks"


async def test_an_application_may_take_longer_than_a_lease(store: FileStore) -> None:
    application = Held()
    a, b = Instance(store, application, timing=UploadTiming(handler_lease=0.06)), Instance(store)
    id = await begun(a)
    asked = asyncio.create_task(append(a, id, 0, b"hello"))
    await settled(lambda: a.finished)
    first = (await b.engine.find(id, "")).lease_until
    waiting = asyncio.create_task(append(b, id, 5, b""))
    async with asyncio.timeout(10):
        while (await b.engine.find(id, "")).lease_until < first + 0.2:
            await asyncio.sleep(0.01)
    application.go_on.set()
    assert (await asked).body == (await waiting).body == b"thanks"
    assert not b.finished


async def test_an_answer_that_comes_while_the_lease_is_renewed_is_kept(store: FileStore) -> None:
    disk, application = Faulty(store), Held()
    instance = Instance(disk, application, timing=UploadTiming(handler_lease=0.03), now=Clock())
    id = await begun(instance)
    asked = asyncio.create_task(append(instance, id, 0, b"hello"))
    await settled(lambda: instance.finished)
    disk.hold("swap")
    await settled(lambda: disk.waiting)
    application.go_on.set()
    await asyncio.sleep(0)
    disk.release()
    assert (await asked).body == b"thanks"
    assert len(instance.finished) == 1


# -- leaving ---------------------------------------------------------------------------------------------------------


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
    assert await offset_of(instance, id) == 0  # asking is still answered


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
        asking = asyncio.create_task(instance.got("POST", "/", b"hello"))
        await settled(lambda: instance.finished)
        asking.cancel()
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


# -- expiry ----------------------------------------------------------------------------------------------------------


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
    clock, application = Clock(), Held()
    dead, alive = Instance(store, application, now=clock), Instance(store, now=clock)
    id = await begun(dead)
    asked = asyncio.create_task(append(dead, id, 0, b"hello"))
    await settled(lambda: dead.finished)
    await alive.engine.collector.collect()
    assert not alive.finished  # it may be alive
    clock.now += TIMING.handler_lease
    await alive.engine.collector.collect()
    await alive.engine.collector.collect()
    assert [it.attempt for it in alive.finished] == [2]
    assert (await append(alive, id, 5, b"")).body == b"thanks"
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
    said = {"tus_resumable": "1.0.0", "upload_concat": "partial", "upload_length": "5"}
    await instance.got("POST", "/", b"hello", content_type="application/offset+octet-stream", **said)
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
    await store.create("a" * 32, json.dumps({**record, "format": 2}).encode())
    assert await instance.engine.collector.collect() == 0
    assert await store.read("a" * 32)


# -- limits and ids --------------------------------------------------------------------------------------------------


async def test_an_upload_that_grows_too_large_is_stopped(store: FileStore) -> None:
    instance = Instance(store, limits=Limits(max_size=4))
    id = await begun(instance, b"he")
    body = Sending()
    body.send(b"llo")
    body.end()
    assert (await append(instance, id, 2, body)).status == 413
    assert not instance.finished


async def test_a_request_that_grows_too_large_is_stopped(store: FileStore) -> None:
    instance = Instance(store, limits=Limits(max_append=3))
    id = await begun(instance)
    body = Sending()
    for piece in (b"he", b"llo"):
        body.send(piece)
    body.end()
    assert (await append(instance, id, 0, body)).status == 413
    assert (await append(instance, id, at := await offset_of(instance, id), b"hello"[at:])).status == 200
    assert await content(instance, id) == b"hello"


async def test_ids_cannot_be_guessed(instance: Instance) -> None:
    ids = [await begun(instance) for _ in range(50)]
    assert len(set(ids)) == 50
    assert {len(id) for id in ids} == {32}  # 192 bits


async def test_hundreds_of_uploads_half_made_are_finished_elsewhere(store: FileStore) -> None:
    a, b = Instance(store), Instance(store)
    ids = await asyncio.gather(*(begun(a, b"%d " % n) for n in range(300)))
    got = await asyncio.gather(*(append(b, id, len(b"%d " % n), b"end") for n, id in enumerate(ids)))
    assert {each.status for each in got} == {200}
    assert len({finished.id for finished in b.finished}) == 300
    for n in range(0, 300, 97):
        assert await content(a, ids[n]) == b"%d end" % n
