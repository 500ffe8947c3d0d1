"""How many unfinished uploads an owner may have."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from starlette.types import Scope
from tests.unit.uploads.faulty import Faulty, Killed
from tests.unit.uploads.serving import Got, Instance, settled

from changeover.uploads import FileStore, Limits
from changeover.uploads.core.limits.quota import quota_record_id

APPEND = {"upload_offset": "0", "upload_complete": "?1", "content_type": "application/partial-upload"}
TWO = Limits(max_unfinished=2)


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
