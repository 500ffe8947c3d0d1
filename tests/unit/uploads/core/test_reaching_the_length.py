"""An upload whose last byte is durable is complete, however its request ended: the handler is called for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from tests.unit.uploads.faulty import Faulty, Killed
from tests.unit.uploads.serving import Got, Instance, Sending, settled

from changeover.uploads import FileStore, Limits
from changeover.uploads.core import record
from changeover.uploads.core.manifest import Manifest, UploadState
from changeover.uploads.core.timing import UploadTiming
from changeover.uploads.stores.store import RecordMissing, RecordVersion, Segment

TUS = {"tus_resumable": "1.0.0"}
PATCH = {**TUS, "content_type": "application/offset+octet-stream"}
QUICK = UploadTiming(idle_commit=0.001)


@dataclass(frozen=True)
class Case:
    """The requests of a client before its last bytes, the request with these, and the question for the offset."""

    before: tuple[tuple[str, str, bytes, dict[str, str]], ...]
    last: tuple[str, str, bytes, dict[str, str]]
    ask: tuple[str, str, dict[str, str]] | None
    """None: its client cannot ask."""
    status: int = 200
    body: bytes = b""
    knows: dict[str, str] = field(default_factory=dict)
    """Fields of the response to the question."""


WHOLE = {"upload-offset": "5", "upload-length": "5"}
HEAD = ("HEAD", "/ID", TUS)
RANGE = ("PUT", "/ID", {"content_range": "bytes */*"})
CASES = [
    pytest.param(
        Case(
            (("POST", "/", b"", {**TUS, "upload_length": "5"}),),
            ("PATCH", "/ID", b"hello", {**PATCH, "upload_offset": "0"}),
            HEAD,
            knows=WHOLE,
        ),
        id="tus",
    ),
    pytest.param(
        Case(
            (
                ("POST", "/", b"", {**TUS, "upload_length": "5"}),
                ("PATCH", "/ID", b"hel", {**PATCH, "upload_offset": "0"}),
            ),
            ("PATCH", "/ID", b"lo", {**PATCH, "upload_offset": "3"}),
            HEAD,
            knows=WHOLE,
        ),
        id="tus continued",
    ),
    pytest.param(
        Case(
            (("POST", "/", b"", {**TUS, "upload_defer_length": "1"}),),
            ("PATCH", "/ID", b"hello", {**PATCH, "upload_offset": "0", "upload_length": "5"}),
            HEAD,
            knows=WHOLE,
        ),
        id="tus with a deferred length",
    ),
    pytest.param(
        Case(
            (
                ("POST", "/", b"", {**TUS, "upload_defer_length": "1"}),
                ("PATCH", "/ID", b"hello", {**PATCH, "upload_offset": "0"}),
            ),
            ("PATCH", "/ID", b"", {**PATCH, "upload_offset": "5", "upload_length": "5"}),
            HEAD,
            knows=WHOLE,
        ),
        id="tus whose length comes last",
    ),
    pytest.param(
        Case((), ("POST", "/", b"hello", {**PATCH, "upload_length": "5"}), None, knows=WHOLE),
        id="tus creation with upload",
    ),
    pytest.param(
        Case(
            (("POST", "/?uploadType=resumable", b"", {}),),
            ("PUT", "/ID", b"hello", {"content_range": "bytes 0-4/5"}),
            RANGE,
            body=b"thanks",
        ),
        id="Content-Range",
    ),
    pytest.param(
        Case(
            (
                ("POST", "/?uploadType=resumable", b"", {}),
                ("PUT", "/ID", b"hel", {"content_range": "bytes 0-2/*"}),
            ),
            ("PUT", "/ID", b"lo", {"content_range": "bytes 3-4/5"}),
            RANGE,
            body=b"thanks",
        ),
        id="Content-Range whose length comes last",
    ),
    pytest.param(
        Case(
            (("POST", "/?uploadType=resumable", b"", {"x_upload_content_length": "5"}),),
            ("PUT", "/ID", b"hello", {"content_range": "bytes 0-4/*"}),
            RANGE,
            body=b"thanks",
        ),
        id="Content-Range with its length at creation",
    ),
    pytest.param(Case((), ("POST", "/", b"hello", {"content_length": "5"}), None), id="plain"),
]


@dataclass
class Last:
    """The request with the last bytes. Its body has not ended, and its client waits."""

    instance: Instance
    disk: Faulty
    task: asyncio.Task[Got | None]
    body: Sending

    async def hang_up(self) -> None:
        self.body.hang_up()
        await asyncio.wait([self.task])

    async def cancel(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])

    async def leave(self) -> None:
        """As by SIGTERM."""
        await self.instance.app.leave()

    async def kill(self) -> None:
        self.disk.kill()
        self.task.cancel()
        await asyncio.wait([self.task])
        with contextlib.suppress(Killed, asyncio.CancelledError):
            await self.task

    async def wait(self) -> None:
        """Its client neither sends more, nor disconnects."""


ENDINGS = [Last.hang_up, Last.cancel, Last.leave, Last.kill, Last.wait]


def by_name(one: Callable[..., object]) -> str:
    return one.__name__


async def has_every_byte(store: FileStore) -> str:
    """The id of the only upload, once the store has its last byte, or the last length."""
    async with asyncio.timeout(10):
        while True:
            for id in [id async for id in store.ids()]:
                with contextlib.suppress(RecordMissing):  # it is being created
                    stored = json.loads((await store.read(id))[0])
                    if stored["length"] == sum(each["size"] for each in stored["segments"]) == 5:
                        return id
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("rate", [None, 25.0], ids=["no limit", "rate"])
@pytest.mark.parametrize("end", ENDINGS, ids=by_name)
@pytest.mark.parametrize("case", CASES)
async def test_the_handler_is_called_for_an_upload_that_has_its_last_byte_however_the_request_ended(
    store: FileStore, case: Case, end: Callable[[Last], Awaitable[None]], rate: float | None
) -> None:
    disk = Faulty(store)
    a = Instance(disk, limits=Limits(rate=rate), timing=QUICK)
    b, c = Instance(store), Instance(store)
    id = ""
    for method, path, body, headers in case.before:
        got = await c.got(method, path.replace("ID", id), body, **headers)
        id = id or got.id
    method, path, body, headers = case.last
    sending = Sending()
    last = Last(a, disk, asyncio.create_task(a.ask(method, path.replace("ID", id), sending, **headers)), sending)
    sending.send(body)
    found = await has_every_byte(store)
    await end(last)
    if case.ask is not None:
        method, path, headers = case.ask
        got = await b.got(method, path.replace("ID", found), **headers)
        assert (got.status, got.body) == (case.status, case.body)
        assert case.knows.items() <= got.headers.items()
    else:
        await b.app.collect()
    if not last.task.done():
        sending.hang_up()
        await asyncio.wait([last.task])
    await asyncio.gather(*(each.app.wait_until_idle() for each in (a, b)))
    assert [(one.id, one.size) for one in (*a.finished, *b.finished)] == [(found, 5)]
    assert (await c.got("GET", f"/{found}/content")).body == b"hello"


async def test_an_ietf_upload_is_complete_only_when_its_client_says_so(store: FileStore) -> None:
    instance = Instance(store, timing=QUICK)
    id = (await instance.got("POST", "/", upload_complete="?0", upload_length="5")).id
    headers = {"upload_offset": "0", "upload_complete": "?0", "content_type": "application/partial-upload"}
    assert (await instance.got("PATCH", f"/{id}", b"hello", **headers)).headers["upload-complete"] == "?0"
    got = await instance.got("HEAD", f"/{id}")
    assert (got.headers["upload-offset"], got.headers["upload-complete"]) == ("5", "?0")
    await instance.app.collect()
    assert not instance.finished


@pytest.mark.parametrize("dialect", ["tus", "content-range", "plain"])
async def test_an_upload_that_an_older_release_left_at_its_last_byte_is_complete(
    store: FileStore, dialect: str
) -> None:
    writer_id = "a" * 32
    left = Manifest(writer_id, dialect, 0.0, None, length=5, epoch=1, holder="dead")  # type: ignore[arg-type]
    await store.create(writer_id, record.encode(left))
    writer = store.writer(writer_id, "1")
    writer.write(b"hello")
    await writer.commit()
    writer.close()
    _, version = await store.read(writer_id)
    stored = {**json.loads(record.encode(left)), "segments": [{"name": "1", "size": 5}]}
    assert stored["state"] == "receiving"
    await store.swap(writer_id, json.dumps(stored).encode(), version)
    instance = Instance(store)
    await instance.app.collect()
    assert [one.size for one in instance.finished] == [5]


async def test_a_complete_upload_waits_for_its_handler_beyond_its_age(store: FileStore) -> None:
    """Every byte was acknowledged in time; a collection that comes later must not drop them."""
    clock = [1_000_000.0]
    instance = Instance(store, limits=Limits(max_age=60), timing=QUICK, now=lambda: clock[0])
    id = (await instance.got("POST", "/", upload_length="5", **TUS)).id
    body = Sending()
    body.send(b"hello")
    body.hang_up()
    assert await instance.ask("PATCH", f"/{id}", body, upload_offset="0", **PATCH) is None
    clock[0] += 61
    assert await instance.app.collect() == 0
    assert [one.id for one in instance.finished] == [id]


async def test_a_client_that_disconnects_before_the_last_byte_leaves_no_plain_upload(store: FileStore) -> None:
    instance = Instance(store, timing=QUICK)
    body = Sending()
    body.send(b"hell")
    body.hang_up()
    assert await instance.ask("POST", "/", body, content_length="5") is None
    assert [id async for id in store.ids()] == []


async def test_an_upload_of_a_body_in_chunks_is_not_complete_before_their_end(store: FileStore) -> None:
    instance = Instance(store, timing=QUICK)
    body = Sending()
    task = asyncio.create_task(instance.ask("POST", "/", body))
    body.send(b"hello")
    await settled(body.pieces.empty)
    body.hang_up()
    assert await task is None
    assert [id async for id in store.ids()] == []
    assert not instance.finished


class DiesWithTheLastByte(Faulty):
    """The process is killed when the store has every byte."""

    async def swap(self, id: str, stored: bytes, version: RecordVersion) -> RecordVersion:
        version = await super().swap(id, stored, version)
        if json.loads(stored)["segments"]:
            self.kill()
            raise Killed
        return version


async def test_a_concatenation_is_complete_with_its_last_byte(store: FileStore) -> None:
    a, b = Instance(DiesWithTheLastByte(store)), Instance(store)
    partial = await b.got("POST", "/", b"hello", upload_concat="partial", upload_length="5", **PATCH)
    with pytest.raises(Killed):
        await a.got("POST", "/", upload_concat=f"final;/files/{partial.id}", **TUS)
    await b.app.collect()
    assert [one.size for one in b.finished] == [5]


def test_the_segments_decide_and_not_the_request() -> None:
    manifest = Manifest("a" * 32, "tus", 0.0, None, length=5, epoch=1, holder="one")
    assert manifest.appended([Segment("1", 4)]).state is UploadState.RECEIVING
    whole = manifest.appended([Segment("1", 5)])
    assert (whole.state, whole.holder) == (UploadState.COMPLETE, "")
