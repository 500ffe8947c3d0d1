"""A creation that is sent again with its `Idempotency-Key`, and a concatenation that is sent again without one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from starlette.types import Scope
from tests.unit.uploads.appending import Clock, Held, settled_offset
from tests.unit.uploads.dialects.test_bad_input import BEGIN, FINISH, TUS, TUS_APPEND, check_problem
from tests.unit.uploads.serving import Instance, Sending, content, settled

from changeover.uploads import FileStore, Limits, UploadTiming

KEY = {"idempotency_key": '"8e03978e"'}
WHOLE = {"plain": {}, "ietf": {"upload_complete": "?1"}, "tus": {**TUS_APPEND, "upload_length": "5"}}
"""Creations with the whole body."""


# -- whole bodies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", WHOLE)
async def test_a_whole_upload_that_is_sent_again_gets_the_same_response(store: FileStore, dialect: str) -> None:
    first, second = Instance(store), Instance(store)
    got = await first.got("POST", "/", b"hello", **WHOLE[dialect], **KEY)
    assert got.status < 300
    assert await second.got("POST", "/", b"hello", **WHOLE[dialect], **KEY) == got
    assert len(first.finished) == 1
    assert not second.finished


@pytest.mark.parametrize("dialect", WHOLE)
@pytest.mark.parametrize(
    "other", [{"content_type": "text/css"}, {"content_disposition": "attachment"}, {"x_album": "winter"}], ids=str
)
async def test_a_key_with_another_request_gets_422(store: FileStore, dialect: str, other: dict[str, str]) -> None:
    instance = Instance(store, keep_headers=("x-album",))
    await instance.got("POST", "/", b"hello", **WHOLE[dialect], **KEY)
    check_problem(
        await instance.got("POST", "/", b"hello", **{**WHOLE[dialect], **KEY, "content_type": "text/css", **other}), 422
    )
    assert len(instance.finished) == 1


async def test_a_key_with_another_length_method_path_or_dialect_gets_422(instance: Instance) -> None:
    await instance.got("POST", "/", b"hello", **KEY)
    for method, path, body, fields in (
        ("POST", "/", b"hello!", {}),
        ("PUT", "/", b"hello", {}),
        ("POST", "", b"hello", {}),
        ("POST", "/", b"hello", {"upload_complete": "?1"}),
        ("POST", "/", b"hello", {**TUS_APPEND, "upload_length": "5"}),
        ("POST", "/?parts", b"", {}),
        ("POST", "/?uploadType=resumable", b"", {}),
        ("POST", "/", b"hello", {"content_digest": "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:"}),
    ):
        check_problem(await instance.got(method, path, body, **fields, **KEY), 422)
    assert len(instance.finished) == 1


async def test_keys_of_different_owners_are_different(store: FileStore) -> None:
    def authorise(scope: Scope) -> str:
        return str(dict(scope["headers"])[b"user"].decode())

    instance = Instance(store, authorise=authorise)
    got = [await instance.got("POST", "/", b"hello", user=user, **KEY) for user in ("ann", "bob", "ann")]
    assert got[0] == got[2]
    assert got[0].id != got[1].id


async def test_another_key_creates_another_upload(instance: Instance) -> None:
    got = [await instance.got("POST", "/", b"hello", idempotency_key=key) for key in ("a", "b", '"a"')]
    assert got[0].id == got[2].id != got[1].id


@pytest.mark.parametrize("dialect", WHOLE)
async def test_a_malformed_key_gets_400_and_creates_nothing(store: FileStore, tmp_path: Path, dialect: str) -> None:
    check_problem(await Instance(store).got("POST", "/", b"hello", **WHOLE[dialect], idempotency_key='"'), 400)
    assert not list(tmp_path.glob("*/*"))


@pytest.mark.parametrize("dialect", ["plain", "ietf"])
async def test_a_whole_upload_that_broke_off_starts_again(store: FileStore, dialect: str) -> None:
    """The first connection is dead, and its process does not know it yet."""
    instance = Instance(store)
    body = Sending()
    body.send(b"hel")
    first = asyncio.ensure_future(instance.got("POST", "/", body, **WHOLE[dialect], **KEY, content_length="5"))
    await settled(body.pieces.empty)
    await settled(lambda: instance.engine._active._requests)
    got = await instance.got("POST", "/", b"hello", **WHOLE[dialect], **KEY)
    assert (got.status, got.body) == (200, b"thanks")
    assert (await first).status in (404, 503)
    assert await content(instance, got.id) == b"hello"
    assert len(instance.finished) == 1


async def test_a_request_beside_the_running_handler_gets_its_response(store: FileStore) -> None:
    handler = Held()
    instance = Instance(store, handler)
    first = asyncio.ensure_future(instance.got("POST", "/", b"hello", **KEY))
    await settled(lambda: instance.finished)
    second = asyncio.ensure_future(instance.got("POST", "/", b"hello", **KEY))
    handler.go_on.set()
    assert await first == await second
    assert len(instance.finished) == 1


@pytest.mark.parametrize("dialect", ["plain", "tus"])
async def test_of_requests_at_the_same_time_one_upload_is_left(store: FileStore, dialect: str) -> None:
    instances = [Instance(store) for _ in range(4)]
    got = await asyncio.gather(*(each.got("POST", "/", b"hello", **WHOLE[dialect], **KEY) for each in instances))
    last = await instances[0].got("POST", "/", b"hello", **WHOLE[dialect], **KEY)
    assert last.status < 300
    assert {each.id for each in got if each.status < 300} <= {last.id}
    assert len({each.id for one in instances for each in one.finished}) == 1


async def test_a_key_is_free_when_its_upload_is_gone(instance: Instance) -> None:
    got = await instance.got("POST", "/", b"hello", **KEY)
    assert (await instance.got("DELETE", f"/{got.id}")).status == 204
    again = await instance.got("POST", "/", b"hello!", **KEY)
    assert (again.status, len(instance.finished)) == (200, 2)
    assert (await instance.got("POST", "/", b"hello!", **KEY)).id == again.id


async def test_the_collection_deletes_the_record_of_a_key_with_its_upload_and_not_before(
    store: FileStore, tmp_path: Path
) -> None:
    clock = Clock()
    instance = Instance(store, now=clock, limits=Limits(keep_done=100.0, max_unfinished=3))
    await instance.got("POST", "/", b"hello", **KEY)
    assert await instance.app.collect() == 0
    assert len(list(tmp_path.glob("*/*"))) == 3  # the upload, its key, the owner's uploads
    clock.now += 101
    assert await instance.app.collect() == 1
    await instance.app.collect()
    assert len(list(tmp_path.glob("*/*"))) == 1


async def test_a_record_of_a_key_that_cannot_be_read_names_no_upload(store: FileStore, tmp_path: Path) -> None:
    instance = Instance(store)
    id = (await instance.got("POST", "/", b"hello", **KEY)).id
    (key,) = (each for each in tmp_path.glob("*/*/record.*") if each.parent.name != id)
    key.write_bytes(b"")
    assert (await instance.got("POST", "/", b"hello", **KEY)).status == 200
    assert len(instance.finished) == 2


# -- uploads that are resumed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", BEGIN)
async def test_a_creation_that_is_sent_again_gives_the_same_upload(store: FileStore, dialect: str) -> None:
    path, fields = BEGIN[dialect]
    first = await Instance(store).got("POST", path, **fields, **KEY)
    instance = Instance(store)
    again = await instance.got("POST", path, **fields, **KEY)
    assert (again.status, again.headers["location"]) == (first.status, first.headers["location"])
    for method, below, body, more in FINISH[dialect]:
        assert (await instance.got(method, f"/{again.id}{below}", body, **more)).status < 300
    assert await content(instance, again.id) == b"hello"
    assert (await instance.got("POST", path, **fields, **KEY)).status < 300
    assert len(instance.finished) == 1


@pytest.mark.parametrize(
    "fields", [{"upload_complete": "?0"}, {**TUS_APPEND, "upload_length": "5"}], ids=["ietf, part", "tus"]
)
async def test_a_creation_with_bytes_that_is_sent_again_tells_how_many_there_are(
    store: FileStore, fields: dict[str, str]
) -> None:
    instance = Instance(store, timing=UploadTiming(idle_commit=0.01))
    body = Sending()
    body.send(b"hel")
    first = asyncio.ensure_future(instance.got("POST", "/", body, **fields, **KEY, content_length="4"))
    await settled(lambda: instance.engine._active._requests)
    (id,) = instance.engine._active._requests
    await settled_offset(instance, id, 3)
    again = await instance.got("POST", "/", b"hell", **fields, **KEY)
    assert (again.status, again.id, again.headers["upload-offset"]) == (201, id, "3")
    assert (await first).headers["upload-offset"] == "3"


# -- concatenations --------------------------------------------------------------------------------------------------


async def partials(instance: Instance) -> list[str]:
    fields = {**TUS_APPEND, "upload_concat": "partial"}
    return [
        (await instance.got("POST", "/", body, **fields, upload_length=str(len(body)))).id for body in (b"hel", b"lo")
    ]


async def join(instance: Instance, ids: list[str], **more: str) -> str:
    urls = " ".join(f"/files/{id}" for id in ids)
    got = await instance.got("POST", "/", **TUS, upload_concat=f"final;{urls}", **more)
    assert (got.status, got.headers["upload-offset"]) == (201, "5")
    return got.id


@pytest.mark.parametrize("key", [{}, KEY], ids=["no key", "key"])
async def test_a_concatenation_that_is_sent_again_gives_the_same_upload(store: FileStore, key: dict[str, str]) -> None:
    first, second = Instance(store), Instance(store)
    ids = await partials(first)
    whole = await join(first, ids, **key)
    assert await join(second, ids, **key) == whole
    for id in ids:
        await first.got("DELETE", f"/{id}", **TUS)
    assert await join(second, ids, **key) == whole
    assert len(first.finished) + len(second.finished) == 1
    assert await content(first, whole) == b"hello"


async def test_another_concatenation_of_the_same_uploads_is_another_one(instance: Instance) -> None:
    ids = await partials(instance)
    whole = await join(instance, ids)
    assert await join(instance, ids[::-1]) != whole
    assert await join(instance, ids, upload_metadata="filename eA==") != whole
    assert len(instance.finished) == 3


async def test_a_deleted_concatenation_can_be_made_again(instance: Instance) -> None:
    ids = await partials(instance)
    whole = await join(instance, ids)
    await instance.got("DELETE", f"/{whole}", **TUS)
    assert await join(instance, ids) != whole


async def test_no_client_finds_the_record_of_a_key(store: FileStore, tmp_path: Path) -> None:
    instance = Instance(store)
    id = (await instance.got("POST", "/", b"hello", **KEY)).id
    (key,) = (each.name for each in tmp_path.glob("*/*") if each.name != id)
    assert json.loads((await store.read(key))[0])["upload"] == id
    for method in ("GET", "HEAD", "DELETE", "PATCH", "PUT"):
        check_problem(
            await instance.got(
                method, f"/{key}", upload_offset="0", upload_complete="?1", content_type="application/partial-upload"
            ),
            405 if method == "PUT" else 404,
        )
