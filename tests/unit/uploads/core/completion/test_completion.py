"""The handler is called once, and its response is replayed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

import pytest
from tests.unit.uploads.appending import Clock, Held, append, begun
from tests.unit.uploads.faulty import Faulty
from tests.unit.uploads.serving import Instance, settled

from changeover.uploads import CompletedUpload, FileStore, Response
from changeover.uploads.core.timing import UploadTiming


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
    request = asyncio.create_task(append(instance, id, 0, b"hello"))
    await settled(lambda: instance.finished)
    request.cancel()
    await asyncio.wait([request])
    application.go_on.set()
    assert (await append(instance, id, 5, b"")).body == b"thanks"
    assert len(instance.finished) == 1
    await instance.engine.completion.wait_until_idle()


LEASE = UploadTiming(handler_lease=0.3, response_poll=0.01)
SKEWS = pytest.mark.parametrize("skew", [0.0, 300.0, -300.0], ids=["no skew", "ahead", "behind"])


def skewed(seconds: float) -> Callable[[], float]:
    """The clock of a machine that is ahead by that much."""
    return lambda: time.time() + seconds


@SKEWS
async def test_an_instance_that_died_while_it_asked_is_waited_for_no_longer_than_its_lease(
    store: FileStore, skew: float
) -> None:
    dead = Held(b"too late")
    disk = Faulty(store)
    a = Instance(disk, dead, timing=LEASE, now=skewed(skew))
    b = Instance(store, timing=LEASE)
    id = await begun(a)
    asked = asyncio.create_task(append(a, id, 0, b"hello"))
    await settled(lambda: a.finished)
    disk.hold()
    began = time.monotonic()
    assert (await append(b, id, 5, b"")).body == b"thanks"
    assert LEASE.handler_lease <= time.monotonic() - began < 10
    assert b.finished[0].attempt == 2
    disk.release()
    dead.go_on.set()  # it was not dead: its answer is not the one that counts
    assert (await asked).status == 503
    assert (await append(b, id, 5, b"")).body == b"thanks"


@SKEWS
async def test_an_instance_that_asks_is_waited_for_whatever_the_clocks_show(store: FileStore, skew: float) -> None:
    application = Held()
    a = Instance(store, application, timing=LEASE, now=skewed(skew))
    disk = Faulty(store)
    b = Instance(disk, timing=LEASE)
    id = await begun(a)
    asked = asyncio.create_task(append(a, id, 0, b"hello"))
    await settled(lambda: a.finished)
    waiting = asyncio.create_task(append(b, id, 5, b""))
    renewed: set[float] = set()
    async with asyncio.timeout(10):
        while len(renewed) < 5:  # more than a lease
            renewed.add((await b.engine.find(id, "")).lease_until)
            await b.app.collect()
            await asyncio.sleep(0.01)
    application.go_on.set()
    assert (await asked).body == (await waiting).body == b"thanks"
    assert not b.finished


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
