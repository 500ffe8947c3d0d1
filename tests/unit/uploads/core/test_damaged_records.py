"""Records that cannot be read: their clients get a response of their dialect, and the collection deletes them."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import obstore
import pytest
from prometheus_client import CollectorRegistry
from tests.unit.uploads.bucket_stores import gcs_store, s3_store
from tests.unit.uploads.buckets import Service
from tests.unit.uploads.serving import Instance

from changeover.uploads import CompletedUpload, FileStore, Limits, Response, UploadTiming
from changeover.uploads.core import record
from changeover.uploads.core.limits.quota import quota_record_id
from changeover.uploads.core.manifest import Manifest

ID = "a" * 32
WHOLE = record.encode(Manifest(ID, "tus", 0.0, None, length=5))
DAMAGES = {
    "empty": b"",
    "torn": WHOLE[: len(WHOLE) // 2],
    "zeros": bytes(len(WHOLE)),
    "not UTF-8": b"\xff\xfe",
    "a list": b"[]",
    "a number": b"5",
    "nested": b"[" * 100_000,
    "another object": b'{"format": 1}',
    "a wrong type": json.dumps({**json.loads(WHOLE), "length": "five"}).encode(),
}
TUS = {"tus_resumable": "1.0.0"}
PARTIAL = {"content_type": "application/partial-upload", "upload_offset": "0", "upload_complete": "?1"}
REQUESTS: dict[str, tuple[str, str, bytes, dict[str, str]]] = {
    "tus HEAD": ("HEAD", "/ID", b"", TUS),
    "tus PATCH": (
        "PATCH",
        "/ID",
        b"hello",
        {**TUS, "content_type": "application/offset+octet-stream", "upload_offset": "0"},
    ),
    "tus DELETE": ("DELETE", "/ID", b"", TUS),
    "tus concatenation": ("POST", "/", b"", {**TUS, "upload_concat": "final;/files/ID"}),
    "IETF HEAD": ("HEAD", "/ID", b"", {}),
    "IETF PATCH": ("PATCH", "/ID", b"hello", PARTIAL),
    "IETF DELETE": ("DELETE", "/ID", b"", {}),
    "Content-Range PUT": ("PUT", "/ID", b"hello", {"content_range": "bytes 0-4/5"}),
    "Content-Range query": ("PUT", "/ID", b"", {"content_range": "bytes */*"}),
    "parts PUT": ("PUT", "/ID/parts/1", b"hello", {}),
    "parts list": ("GET", "/ID/parts", b"", {}),
    "parts complete": ("POST", "/ID/complete", b"", {}),
    "content": ("GET", "/ID/content", b"", {}),
}


def count(registry: CollectorRegistry, reason: str) -> float:
    return registry.get_sample_value("changeover_uploads_unreadable_records_total", {"reason": reason}) or 0.0


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_a_client_of_a_damaged_upload_gets_410_in_its_dialect(
    store: FileStore, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    registry = CollectorRegistry()
    instance = Instance(store, registry=registry)
    await store.create(ID, damage)
    for name, (method, path, body, headers) in REQUESTS.items():
        sent = {key: value.replace("ID", ID) for key, value in headers.items()}
        got = await instance.got(method, path.replace("ID", ID), body, **sent)
        assert (got.status, got.headers["content-type"]) == (410, "application/problem+json"), name
        assert got.headers.get("tus-resumable") == ("1.0.0" if "tus" in name else None)
    assert ID in caplog.text
    assert count(registry, "damaged") >= len(REQUESTS)
    assert (await store.read(ID))[0] == damage


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_a_damaged_upload_is_reported_by_each_collection_and_deleted_at_its_age(
    store: FileStore, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    # The clock of this machine is days ahead: the age is by the clock of the store.
    instance = Instance(store, limits=Limits(max_age=60), now=lambda: time.time() + 1e6)
    await store.create(ID, damage)
    assert await instance.app.collect() == 0
    assert ID in caplog.text
    assert (await store.read(ID))[0] == damage
    [path] = tmp_path.rglob("record.*")
    os.utime(path, (time.time() - 61,) * 2)
    assert await instance.app.collect() == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


async def test_a_damaged_upload_does_not_hold_up_the_collection_of_others(store: FileStore) -> None:
    instance = Instance(store, limits=Limits(max_age=0))
    await store.create(ID, b"")
    await instance.got("POST", "/", upload_complete="?0")
    assert await instance.app.collect() == 2


@pytest.mark.parametrize("kind", ["s3", "gcs"])
async def test_an_object_that_is_no_record_is_a_damaged_record(kind: str, request: pytest.FixtureRequest) -> None:
    service: Service = request.getfixturevalue(kind)
    make: Callable[..., Any] = {"s3": s3_store, "gcs": gcs_store}[kind]
    store = make(service.url, "damaged")
    await store.create(ID, b"")
    await _overwrite(store, b"")
    instance = Instance(store, limits=Limits(max_age=60))
    assert (await instance.got("HEAD", f"/{ID}", **TUS)).status == 410
    assert await instance.app.collect() == 0
    assert 0 <= await store.age(ID) < 60
    assert await Instance(store, limits=Limits(max_age=-5)).app.collect() == 1
    assert [id async for id in store.ids()] == []


async def _overwrite(store: Any, content: bytes) -> None:
    await obstore.put_async(store._service, store._record(ID), content)


async def test_an_upload_of_a_newer_release_is_left_to_its_instances(store: FileStore) -> None:
    registry = CollectorRegistry()
    instance = Instance(store, limits=Limits(max_age=0), registry=registry)
    await store.create(ID, json.dumps({**json.loads(WHOLE), "format": 99}).encode())
    got = await instance.got("HEAD", f"/{ID}", **TUS)
    assert (got.status, got.headers["retry-after"]) == (503, "1")
    assert await instance.app.collect() == 0
    assert await store.read(ID)
    assert count(registry, "newer") == 2


async def test_an_upload_with_fields_of_a_newer_release_continues_and_keeps_them(store: FileStore) -> None:
    instance = Instance(store)
    id = (await instance.got("POST", "/", upload_length="5", **TUS)).id
    stored, version = await store.read(id)
    await store.swap(id, json.dumps({**json.loads(stored), "colour": "red"}).encode(), version)
    headers = {**TUS, "content_type": "application/offset+octet-stream", "upload_offset": "0"}
    assert (await instance.got("PATCH", f"/{id}", b"hello", **headers)).status == 204
    stored = json.loads((await store.read(id))[0])
    assert (stored["colour"], stored["state"]) == ("red", "done")


async def test_a_key_whose_upload_is_damaged_is_free_again(store: FileStore) -> None:
    instance = Instance(store)
    headers = {"upload_complete": "?0", "idempotency_key": '"one"'}
    first = (await instance.got("POST", "/", **headers)).id
    _, version = await store.read(first)
    await store.swap(first, b"", version)
    again = await instance.got("POST", "/", **headers)
    assert again.status == 201
    assert again.id != first


@pytest.mark.parametrize("damage", [b"", b"{", b"5", b"{}", b'{"unfinished": 5}'])
async def test_a_damaged_list_of_an_owner_is_written_anew(store: FileStore, damage: bytes) -> None:
    instance = Instance(store, limits=Limits(max_unfinished=2))
    await store.create(quota_record_id(""), damage)
    await instance.app.collect()
    got = [(await instance.got("POST", "/", upload_complete="?0")).status for _ in range(3)]
    assert got == [201, 201, 429]


async def test_a_damaged_upload_counts_until_it_is_collected(store: FileStore) -> None:
    instance = Instance(store, limits=Limits(max_unfinished=1))
    id = (await instance.got("POST", "/", upload_complete="?0")).id
    _, version = await store.read(id)
    await store.swap(id, b"", version)
    assert (await instance.got("POST", "/", upload_complete="?0")).status == 429
    await store.drop(id)
    assert (await instance.got("POST", "/", upload_complete="?0")).status == 201


async def test_a_collection_that_fails_is_reported_and_another_one_follows(
    store: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(FileStore):
        failures = 0

        async def ids(self) -> AsyncIterator[str]:
            self.failures += 1
            if self.failures < 3:
                raise KeyError("a fault of the store")
            async for id in super().ids():
                yield id

    async def handler(upload: CompletedUpload) -> Response:
        return Response(200)

    failing = Failing(store._root, durable=False)
    instance = Instance(failing, handler, limits=Limits(max_age=0), timing=UploadTiming(collect_interval=0.001))
    await instance.got("POST", "/", upload_complete="?0")
    async with instance.engine.collector.running():
        while [id async for id in store.ids()]:
            await asyncio.sleep(0.001)
    assert [each.levelno for each in caplog.records if "collection" in each.getMessage()] == [logging.ERROR] * 2
