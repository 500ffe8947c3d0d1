"""How fast an upload may come in, and how many unfinished ones an owner may have."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from starlette.types import Scope
from tests.unit.uploads.faulty import Faulty, Killed
from tests.unit.uploads.serving import Got, Instance, Sending, content, settled

from changeover.uploads import FileStore, Limits
from changeover.uploads.core.limits.quota import quota_record_id
from changeover.uploads.core.limits.rate_limit import BURST, RateLimit

APPEND = {"upload_offset": "0", "upload_complete": "?1", "content_type": "application/partial-upload"}
TWO = Limits(max_unfinished=2)

# -- rate ------------------------------------------------------------------------------------------------------------


def test_a_pace_makes_wait_for_as_long_as_the_bytes_may_take() -> None:
    pace = RateLimit(1000)
    assert pace.wait(1000, now=50.0) == pytest.approx(1 - BURST)
    assert pace.wait(500, now=51.0 - BURST) == pytest.approx(0.5)
    assert pace.wait(50, now=60.0) == 0  # after a time without bytes a few may come at once
    assert pace.wait(2000, now=60.0) == pytest.approx(2 + 0.05 - BURST)


async def sent_too_fast(instance: Instance) -> tuple[str, asyncio.Task[Got], Sending]:
    """An append that brings ten thousand bytes, and then as many more."""
    id = (await instance.got("POST", "/", upload_complete="?0")).id
    sending = Sending()
    for _ in range(2):
        sending.send(b"x" * 10_000)
    return id, asyncio.create_task(instance.got("PATCH", f"/{id}", sending, **APPEND)), sending


async def test_what_comes_too_fast_is_left_unread_and_what_came_is_kept(store: FileStore) -> None:
    instance = Instance(store, limits=Limits(rate=1.0))
    id, task, sending = await sent_too_fast(instance)
    await settled(lambda: sending.pieces.qsize() == 1)
    head = await instance.got("HEAD", f"/{id}")  # breaks it off in the midst of its wait
    assert (head.headers["upload-offset"], sending.pieces.qsize()) == ("10000", 1)
    assert (await task).status == 503


async def test_without_a_rate_the_same_is_read_at_once(instance: Instance) -> None:
    id, task, sending = await sent_too_fast(instance)
    await settled(sending.pieces.empty)
    sending.end()
    assert (await task).status == 200
    assert len(await content(instance, id)) == 20_000


async def test_an_upload_within_its_rate_arrives_whole(store: FileStore) -> None:
    instance = Instance(store, limits=Limits(rate=1e9))
    _, task, sending = await sent_too_fast(instance)
    sending.end()
    assert (await task).headers["x-size"] == "20000"


async def test_parts_that_come_side_by_side_share_one_rate(store: FileStore) -> None:
    instance = Instance(store, limits=Limits(rate=100_000.0))
    id, other = [(await instance.got("POST", "/?parts")).headers["location"].split("/")[-1] for _ in range(2)]
    first = Sending()
    first.send(b"x" * 10_000_000)
    task = asyncio.create_task(instance.got("PUT", f"/{id}/parts/1", first))
    await settled(first.pieces.empty)
    second = Sending()
    for piece in (b"x", b"x"):
        second.send(piece)
    late = asyncio.create_task(instance.got("PUT", f"/{id}/parts/2", second))
    await settled(lambda: second.pieces.qsize() == 1)
    assert (await instance.got("PUT", f"/{other}/parts/1", b"x")).status == 200  # which has a rate of its own
    assert (second.pieces.qsize(), late.done()) == (1, False)
    for each in (task, late):
        each.cancel()
    await asyncio.wait([task, late])


# -- unfinished uploads of one owner ---------------------------------------------------------------------------------

BEGINNINGS: Mapping[str, tuple[str, dict[str, str]]] = {
    "ietf": ("/", {"upload_complete": "?0"}),
    "tus": ("/", {"tus_resumable": "1.0.0", "upload_length": "5"}),
    "parts": ("/?parts", {}),
    "content-range": ("/?uploadType=resumable", {}),
    "plain": ("/", {}),
}


def by_header(scope: Scope) -> str:
    user: bytes = dict(scope["headers"]).get(b"user", b"")
    return user.decode()


def limited(store: FileStore) -> Instance:
    return Instance(store, limits=TWO, authorise=by_header)


async def begin(instance: Instance, user: str = "ann") -> Got:
    return await instance.got("POST", "/", upload_complete="?0", user=user)


@pytest.mark.parametrize("dialect", BEGINNINGS)
async def test_one_upload_too_many_is_refused_in_every_dialect_and_leaves_nothing(
    store: FileStore, tmp_path: Path, dialect: str
) -> None:
    instance = limited(store)
    for _ in range(2):
        assert (await begin(instance)).status == 201
    before = sorted(tmp_path.glob("*/*"))
    path, headers = BEGINNINGS[dialect]
    got = await instance.got("POST", path, user="ann", **headers)
    assert (got.status, got.headers["content-type"]) == (429, "application/problem+json")
    assert b"finish or cancel one first" in got.body
    assert sorted(tmp_path.glob("*/*")) == before
    assert (await begin(instance, "bob")).status == 201


async def test_the_limit_holds_over_instances_that_are_asked_at_once(store: FileStore) -> None:
    instances = [limited(store) for _ in range(4)]
    got = await asyncio.gather(*(begin(instances[n % 4]) for n in range(12)))
    made = [each for each in got if each.status == 201]
    assert len(made) == 2
    assert {each.status for each in got} == {201, 429}


async def test_what_is_finished_cancelled_or_expired_makes_room(store: FileStore) -> None:
    now = [1000.0]
    instance = Instance(store, limits=Limits(max_unfinished=2, max_age=60), now=lambda: now[0])
    finished, cancelled = (await begin(instance)).id, (await begin(instance)).id
    await instance.got("PATCH", f"/{finished}", b"hello", **APPEND)
    assert (await begin(instance)).status == 201
    assert (await begin(instance)).status == 429
    await instance.got("DELETE", f"/{cancelled}")
    assert (await begin(instance)).status == 201
    assert (await begin(instance)).status == 429
    now[0] += 61
    assert (await begin(instance)).status == 201


async def test_a_plain_upload_that_came_whole_takes_no_room(store: FileStore) -> None:
    instance = limited(store)
    for _ in range(5):
        assert (await instance.got("POST", "/", b"hello", user="ann")).status == 200


async def test_an_instance_that_died_before_it_counted_its_upload_takes_no_room(store: FileStore) -> None:
    faulty = Faulty(store)
    dying, other = Instance(faulty, limits=TWO), Instance(store, limits=TWO)
    assert (await begin(other)).status == 201
    faulty.hold("swap")
    task = asyncio.create_task(begin(dying))
    await settled(lambda: faulty.waiting)
    faulty.kill()
    with pytest.raises(Killed):
        await task
    assert (await begin(other)).status == 201
    assert (await begin(other)).status == 429


async def test_the_list_of_an_owner_is_no_upload_and_is_left_by_the_collection(store: FileStore) -> None:
    instance = limited(store)
    await begin(instance)
    id = quota_record_id("ann")
    for method in ("HEAD", "DELETE", "PATCH"):
        assert (await instance.got(method, f"/{id}", user="ann", **APPEND)).status == 404
    assert (await instance.got("GET", f"/{id}/content", user="ann")).status == 404
    assert (await instance.got("PUT", f"/{id}/parts/1", b"x", user="ann")).status == 404
    assert await instance.engine.collector.collect() == 0
    assert await store.read(id)
