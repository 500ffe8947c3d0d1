"""When received bytes are committed."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

from tests.unit.uploads.appending import PARTIAL, append, begun, offset_of, settled_offset, under_way
from tests.unit.uploads.faulty import Faulty
from tests.unit.uploads.serving import Instance, Sending, content

from changeover.uploads import FileStore, Limits
from changeover.uploads.core.timing import UploadTiming
from changeover.uploads.stores.store import RecordVersion


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
        headers = {"upload_offset": str(at), "upload_complete": "?1", "content_type": PARTIAL}
        assert await instance.ask("PATCH", f"/{id}", body, **headers) is None
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


async def test_an_upload_that_waits_for_its_client_holds_no_received_bytes(store: FileStore) -> None:
    held: list[bool] = []

    async def body() -> AsyncIterator[bytes]:
        for _ in range(2):
            piece = memoryview(b"hello")
            latest = weakref.ref(piece)
            yield cast("bytes", piece)
            del piece
            held.append(latest() is not None)

    instance = Instance(store)
    id = await begun(instance)
    await instance.engine.append(id, "", 0, body(), complete=True)
    assert held == [False, False]
