"""A store that fails during an upload, in every dialect: its client gets an error, and continues when it is repaired.

Each test lets the fault begin at one call after the other, until an upload gets through before it: so it has met every
call there is. Of a bucket, whose requests take longer, only `make fuzz` meets every one. What the stores themselves
make of faults is in their own tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.crossed import crossed
from tests.unit.uploads.appending import Held
from tests.unit.uploads.bucket_stores import SOON, s3_store
from tests.unit.uploads.buckets import Fault, Service
from tests.unit.uploads.serving import Got, Instance, content, settled
from tests.unit.uploads.speaking import ContentRange, Ietf, Parts, Tus

from changeover.uploads import FileStore
from changeover.uploads.core.appending import Appender
from changeover.uploads.core.timing import UploadTiming
from changeover.uploads.stores.store import StoreUnavailable

WHOLE = b"hello world"
FIRST = 5
"""Bytes that are acknowledged before the fault."""
QUICK = UploadTiming(response_poll=0.001)
STEP = 1 if os.environ.get("CHANGEOVER_HYPOTHESIS") == "deep" else 4
"""From one request to a bucket that fails to the next one that is tried."""
DIALECTS = [pytest.param(dialect, id=type(dialect).__name__) for dialect in (Ietf(), Tus(), ContentRange(), Parts())]


class Client:
    """Uploads WHOLE in two requests, and continues from the offset in a response."""

    def __init__(self, instance: Instance, dialect: Any) -> None:
        self.instance = instance
        self.id = ""
        self._dialect = dialect
        self._all_acknowledged = False

    async def begin(self) -> None:
        self.id = (await self._send(self._dialect.create(len(WHOLE)))).id
        assert (await self._append(0, FIRST)).status < 400

    async def rest(self, offset: int) -> Got:
        """What is left from there on; the answer to the last request."""
        if not isinstance(self._dialect, Parts):
            return await self._append(offset, len(WHOLE))
        if not self._all_acknowledged:
            got = await self._append(offset, len(WHOLE))
            self._all_acknowledged = got.status == 200
            if not self._all_acknowledged:
                return got
        return await self.instance.got("POST", f"/{self.id}/complete")

    async def _append(self, first: int, last: int) -> Got:
        return await self._send(self._dialect.append(self.id, first, last, len(WHOLE)), WHOLE[first:last])

    async def ask(self) -> Got:
        return await self._send(self._dialect.ask(self.id, len(WHOLE)))

    async def offset(self) -> int:
        got = await self.ask()
        if self._all_acknowledged or (isinstance(self._dialect, ContentRange) and got.status == 200):
            return len(WHOLE)
        offset: int = self._dialect.offset(got)
        return offset

    async def _send(self, ask: Any, body: bytes = b"") -> Got:
        return await self.instance.got(ask.method, ask.path, body, **ask.headers)

    async def goes_on(self) -> None:
        """Now that nothing fails: from the acknowledged bytes to the end, with every byte in its place, and once."""
        offset = await self.offset()
        assert FIRST <= offset <= len(WHOLE)
        await self.is_done(await self.rest(offset))

    async def is_done(self, got: Got) -> None:
        assert self._dialect.answered(got, len(WHOLE)), got
        assert await content(self.instance, self.id) == WHOLE
        assert [finished.id for finished in self.instance.finished].count(self.id) == 1
        await self.instance.engine.completion.wait_until_idle()


def check_problem(got: Got, status: int, *words: str) -> None:
    """A problem document with that status, the store's reason, and `Retry-After` where a retry helps."""
    assert (got.status, got.headers.get("content-type")) == (status, "application/problem+json"), got
    document = json.loads(got.body)
    assert document["status"] == status
    assert all(word in document["detail"] for word in words), document
    assert ("retry-after" in got.headers) == (status == 503)


# -- a disk ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, name: str, number: int, after: int) -> Iterator[list[str]]:
    """From the call after that many on; EIO is reported once, as by Linux. Yields those that failed."""
    original, left = getattr(os, name), count(-after)
    met: list[str] = []

    def call(*args: Any, **kwargs: Any) -> Any:
        if next(left) < 0 or (met and number == errno.EIO):
            return original(*args, **kwargs)
        met.append(name)
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, name, call)
        yield met


FAULTS = [
    pytest.param("write", errno.ENOSPC, 507, id="no room for bytes"),
    pytest.param("link", errno.EDQUOT, 507, id="no room for a name"),
    pytest.param("fdatasync", errno.EIO, 503, id="bytes that cannot be synced"),
    pytest.param("fsync", errno.EIO, 503, id="names that cannot be synced"),
    pytest.param("open", errno.EACCES, 503, id="permission lost"),
]
every_fault = pytest.mark.parametrize(("call", "number", "status"), FAULTS)


@crossed("dialect, call, number, status", DIALECTS, FAULTS)
async def test_a_disk_that_fails_is_told_and_the_upload_goes_on_when_it_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dialect: Any, call: str, number: int, status: int
) -> None:
    instance = Instance(FileStore(tmp_path), timing=QUICK)
    for after in count():
        client = Client(instance, dialect)
        await client.begin()
        with failing(monkeypatch, call, number, after) as met:
            got = await client.rest(FIRST)
            if not met:
                break
            check_problem(got, status, os.strerror(number))
            assert (await client.ask()).status in (200, 204, 308, status)
        await client.goes_on()
    await client.is_done(got)
    assert after > 1


@every_fault
async def test_a_disk_that_fails_a_plain_upload_is_told_and_it_can_be_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, status: int
) -> None:
    clock = [1_000_000.0]
    instance = Instance(store := FileStore(tmp_path), timing=QUICK, now=lambda: clock[0])
    for after in count():
        with failing(monkeypatch, call, number, after) as met:
            got = await instance.got("POST", "/", WHOLE)
            if not met:
                break
            check_problem(got, status, os.strerror(number))
        assert (again := await instance.got("POST", "/", WHOLE)).status == 200
        assert await content(instance, again.id) == WHOLE
        await instance.engine.completion.wait_until_idle()
    assert after > 1
    assert [await content(instance, one.id) for one in instance.finished] == [WHOLE] * len(instance.finished)
    clock[0] += 1e9  # an abandoned upload does not stay for ever
    await instance.engine.collector.collect()
    assert {id async for id in store.ids()} == {one.id for one in instance.finished}


async def test_an_engine_that_passes_over_a_fault_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(self: Any, piece: bytes) -> None:
        with contextlib.suppress(StoreUnavailable):
            self._writer.write(piece)

    monkeypatch.setattr(Appender, "_write", write)
    with pytest.raises(AssertionError):
        await test_a_disk_that_fails_is_told_and_the_upload_goes_on_when_it_is_mended(
            tmp_path, monkeypatch, Ietf(), "write", errno.EIO, 503
        )


async def test_an_answer_that_cannot_be_kept_is_told_and_kept_when_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the application is not asked again, however long that takes, nor is anybody left waiting."""
    instance = Instance(FileStore(tmp_path), application := Held(), timing=QUICK)
    got = await instance.got("POST", "/", upload_complete="?0")
    headers = {"upload_complete": "?1", "content_type": "application/partial-upload"}
    request = asyncio.create_task(instance.got("PATCH", f"/{got.id}", WHOLE, upload_offset="0", **headers))
    await settled(lambda: instance.finished)
    with failing(monkeypatch, "link", errno.ENOSPC, 0):
        application.go_on.set()
        check_problem(await request, 507)
        for _ in range(3):
            check_problem(await instance.got("PATCH", f"/{got.id}", upload_offset=str(len(WHOLE)), **headers), 507)
    again = await instance.got("PATCH", f"/{got.id}", upload_offset=str(len(WHOLE)), **headers)
    assert (again.status, again.body, len(instance.finished)) == (200, b"thanks", 1)


# -- a bucket --------------------------------------------------------------------------------------------------------


@crossed(
    "dialect, fault",
    DIALECTS,
    [
        pytest.param(Fault("*", status=503, code="SlowDown"), id="503"),
        pytest.param(Fault("PUT", status=500, code="InternalError", done=True), id="500 although it is done"),
    ],
)
async def test_a_bucket_that_fails_is_told_and_the_upload_goes_on_when_it_is_mended(
    s3: Service, dialect: Any, fault: Fault
) -> None:
    instance = Instance(s3_store(s3.url, **SOON), timing=QUICK)
    for after in count(0, STEP):
        client = Client(instance, dialect)
        await client.begin()
        beginning = replace(fault, after=after, passed=threading.Event())
        with s3.failing(beginning):
            got = await client.rest(FIRST)
            if not beginning.passed.is_set():
                break
            if got.status == 503:
                check_problem(got, 503, str(fault.status), fault.code)
                assert (await client.ask()).status in (200, 204, 308, 503)
        await client.goes_on()
    await client.is_done(got)
    assert after > 1


@crossed(
    "dialect, fault",
    DIALECTS,
    [
        pytest.param(Fault("*", status=503, code="SlowDown", times=1), id="503"),
        pytest.param(Fault("PUT", "/record", status=409, code="ConditionalRequestConflict", times=1), id="conflict"),
        pytest.param(Fault("PUT", times=1, done=True), id="reset although it is done"),
    ],
)
async def test_a_fault_of_a_bucket_in_passing_is_not_noticed(s3: Service, dialect: Any, fault: Fault) -> None:
    instance = Instance(s3_store(s3.url, **SOON), timing=QUICK)
    for after in count(0, STEP):
        client = Client(instance, dialect)
        await client.begin()
        passing = replace(fault, after=after, passed=threading.Event())
        with s3.failing(passing):
            await client.is_done(await client.rest(FIRST))
        if not passing.passed.is_set():
            break
    assert after > 1


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_what_a_slow_bucket_does_after_its_client_was_told_is_no_harm(s3: Service, dialect: Any) -> None:
    patient = Instance(s3_store(s3.url, "slow", **SOON), timing=QUICK)
    hasty = Instance(s3_store(s3.url, "slow", **SOON, client_options={"timeout": timedelta(milliseconds=50)}))
    client = Client(patient, dialect)
    await client.begin()
    slow = Fault("PUT", held=threading.Event(), done=True)
    with s3.failing(slow):
        client.instance = hasty
        check_problem(await client.rest(FIRST), 503, "no response: Timeout")
        client.instance = patient
    await client.goes_on()
