"""The hook before the creation of an upload, and the events during its life."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from tests.unit.uploads.serving import Instance, Sending, settled

from changeover.uploads import FileStore, Forbidden, Limits, NewUpload, Rejected, UploadEvent
from changeover.uploads.core.events import BACKLOG, EventDispatcher
from changeover.uploads.core.manifest import Manifest
from changeover.uploads.core.metrics import metrics_in
from changeover.uploads.core.timing import UploadTiming

APPEND = {"upload_offset": "0", "upload_complete": "?1", "content_type": "application/partial-upload"}
TUS = {"tus_resumable": "1.0.0"}

# -- validation ------------------------------------------------------------------------------------------------------

BEGINNINGS: Mapping[str, tuple[str, dict[str, str]]] = {
    "ietf": ("/", {"upload_complete": "?0", "upload_length": "5"}),
    "tus": ("/", {**TUS, "upload_length": "5", "upload_metadata": "filename YS50eHQ="}),
    "parts": ("/?parts", {}),
    "content-range": ("/?uploadType=resumable", {"x_upload_content_length": "5"}),
    "plain": ("/", {}),
}


@pytest.mark.parametrize("dialect", BEGINNINGS)
async def test_an_application_refuses_an_upload_in_every_dialect_before_a_byte_is_stored(
    store: FileStore, tmp_path: Path, dialect: str
) -> None:
    seen: list[NewUpload] = []

    async def validate(new: NewUpload) -> None:
        seen.append(new)
        raise Rejected(415, "only pictures")

    path, headers = BEGINNINGS[dialect]
    got = await Instance(store, validate=validate).got("POST", path, b"hello", **headers)
    assert (got.status, got.headers["content-type"]) == (415, "application/problem+json")
    assert b"only pictures" in got.body
    assert not list(tmp_path.iterdir())
    assert (seen[0].dialect, seen[0].target) == (dialect, "/files/")


async def test_an_application_sees_the_owner_the_length_and_what_the_client_says(store: FileStore) -> None:
    seen: list[NewUpload] = []
    instance = Instance(store, authorise=lambda _: "ann", validate=seen.append)
    await instance.got("POST", "/", upload_complete="?0", upload_length="7", content_type="image/png")
    await instance.got("POST", "/", **TUS, upload_length="5", upload_metadata="filename YS50eHQ=")
    assert [each.owner for each in seen] == ["ann", "ann"]
    assert [each.length for each in seen] == [7, 5]
    assert seen[0].headers["content-type"] == "image/png"
    assert seen[1].metadata == {"filename": "a.txt"}


async def test_an_upload_that_is_joined_from_others_is_asked_about_too(store: FileStore) -> None:
    def validate(new: NewUpload) -> None:
        if new.length == 10:
            raise Forbidden("ten is too many")

    instance = Instance(store, validate=validate)
    part = {**TUS, "upload_concat": "partial", "upload_length": "5", "content_type": "application/offset+octet-stream"}
    ids = [(await instance.got("POST", "/", b"hello", **part)).id for _ in range(2)]
    concat = "final;" + " ".join(f"/files/{id}" for id in ids)
    assert (await instance.got("POST", "/", **TUS, upload_concat=concat)).status == 403


async def test_an_application_that_fails_to_look_is_no_reason_to_take_the_upload(
    store: FileStore, tmp_path: Path
) -> None:
    def validate(_: NewUpload) -> None:
        raise LookupError("a bug")

    got = await Instance(store, validate=validate).got("POST", "/", b"hello")
    assert (got.status, b"bug" in got.body) == (503, False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("status", [200, 399, 500, 42])
def test_an_upload_is_refused_with_a_status_that_means_it(status: int) -> None:
    with pytest.raises(ValueError, match=str(status)):
        Rejected(status, "no")


async def test_an_application_refuses_with_a_status_that_has_no_name(store: FileStore) -> None:
    def validate(_: NewUpload) -> None:
        raise Rejected(499, "never")

    assert (await Instance(store, validate=validate).got("POST", "/", b"hello")).status == 499


# -- events ----------------------------------------------------------------------------------------------------------


class Listening:
    def __init__(self) -> None:
        self.events: list[UploadEvent] = []

    def __call__(self, event: UploadEvent) -> None:
        self.events.append(event)

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


async def test_the_life_of_an_upload_is_told_in_order(store: FileStore) -> None:
    listener = Listening()
    instance = Instance(store, on_event=listener, authorise=lambda _: "ann")
    id = (await instance.got("POST", "/", b"he", upload_complete="?0", upload_length="5")).id
    await instance.got("PATCH", f"/{id}", b"llo", **{**APPEND, "upload_offset": "2"})
    await instance.engine.completion.wait_until_idle()
    assert listener.kinds == ["created", "progress", "progress", "completed", "handled"]
    assert [event.offset for event in listener.events] == [0, 2, 5, 5, 5]
    assert {(event.id, event.owner, event.dialect, event.length) for event in listener.events} == {
        (id, "ann", "ietf", 5)
    }


async def test_progress_is_told_while_a_body_is_still_under_way(store: FileStore) -> None:
    listener = Listening()
    instance = Instance(store, on_event=listener, limits=Limits(segment=4))
    body = Sending()
    task = asyncio.create_task(instance.got("POST", "/", body))
    body.send(b"1234")
    await settled(lambda: "progress" in listener.kinds)
    assert not task.done()
    body.end()
    await task


async def test_parts_are_told_with_what_is_there_of_all_of_them(store: FileStore) -> None:
    listener = Listening()
    instance = Instance(store, on_event=listener)
    id = (await instance.got("POST", "/?parts")).id
    for n, part in enumerate((b"hel", b"lo"), 1):
        await instance.got("PUT", f"/{id}/parts/{n}", part)
    for _ in range(2):
        await instance.got("POST", f"/{id}/complete")
    await instance.engine.completion.wait_until_idle()
    assert [(e.kind, e.offset) for e in listener.events] == [
        ("created", 0),
        ("progress", 3),
        ("progress", 5),
        ("completed", 5),
        ("handled", 5),
    ]


async def test_what_is_cancelled_or_expires_is_told_once(store: FileStore) -> None:
    now = [1000.0]
    listener = Listening()
    instance = Instance(store, on_event=listener, limits=Limits(max_age=60), now=lambda: now[0])
    cancelled = (await instance.got("POST", "/", upload_complete="?0")).id
    expired = (await instance.got("POST", "/", upload_complete="?0")).id
    for _ in range(2):
        await instance.got("DELETE", f"/{cancelled}")
    now[0] += 61
    for _ in range(2):
        await instance.engine.collector.collect()
    await instance.engine.completion.wait_until_idle()
    assert [(e.kind, e.id) for e in listener.events[2:]] == [("cancelled", cancelled), ("expired", expired)]


async def test_a_listener_that_fails_breaks_nothing_and_is_told_the_rest(
    store: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    async def listener(event: UploadEvent) -> None:
        heard.append(event.kind)
        await asyncio.sleep(0)
        raise LookupError("a bug")

    instance = Instance(store, on_event=listener)
    assert (await instance.got("POST", "/", b"hello")).status == 200
    await instance.engine.completion.wait_until_idle()
    assert heard == ["created", "progress", "completed", "handled"]
    assert len(caplog.records) == 4


async def test_a_listener_that_hangs_holds_nobody_up_and_is_left_at_the_end(store: FileStore) -> None:
    async def listener(_: UploadEvent) -> None:
        await asyncio.Event().wait()

    instance = Instance(store, on_event=listener, timing=UploadTiming(listener_timeout=0.01))
    async with instance.app.running():
        for _ in range(3):
            assert (await instance.got("POST", "/", b"hello")).status == 200


async def test_a_listener_that_is_far_behind_is_told_of_no_more_progress_but_of_all_else() -> None:
    listener = Listening()
    events = EventDispatcher(listener, metrics_in(CollectorRegistry()), timeout=5.0)
    manifest = Manifest("a" * 32, "ietf", 0.0, None)
    for _ in range(BACKLOG + 50):
        events.emit("progress", manifest)
    events.emit("completed", manifest)
    await events.delivered()
    assert listener.kinds == ["progress"] * BACKLOG + ["completed"]
