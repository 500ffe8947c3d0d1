"""Takeover, fencing and races, whatever the dialect."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tests.unit.uploads.appending import Held, append, begun, offset_of, settled_offset, under_way
from tests.unit.uploads.faulty import Faulty
from tests.unit.uploads.serving import Instance, Sending, content, settled

from changeover.uploads import FileStore, Limits
from changeover.uploads.core.manifest import UploadState
from changeover.uploads.core.timing import UploadTiming

Seen = TypeVar("Seen")


# -- takeover ------------------------------------------------------------------------------------------------------


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


# -- races with the end of an upload -------------------------------------------------------------------------------


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


async def test_a_question_that_came_too_late_leaves_the_answer_to_whoever_asks_for_it(store: FileStore) -> None:
    _, _, manifest = await raced(store, lambda b, id: b.engine.fence(id, ""))
    assert (manifest.offset, manifest.state) == (5, UploadState.COMPLETE)


async def test_bytes_that_came_too_late_are_not_added_to_a_complete_upload(store: FileStore) -> None:
    a, id, got = await raced(store, lambda b, id: append(b, id, 5, b"!", complete=False))
    assert got.status == 400
    assert await content(a, id) == b"hello"


# -- limits and ids ------------------------------------------------------------------------------------------------


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
