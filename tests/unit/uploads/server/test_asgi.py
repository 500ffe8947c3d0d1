"""Uploads that are begun at a route of the application's own, and found where all uploads are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import pytest
from starlette.types import Message, Scope
from tests.unit.uploads.serving import Instance, content

from changeover.http1.head import MAX_HEAD
from changeover.uploads import CompletedUpload, FileStore, Response
from changeover.uploads.server.asgi import _headers

BEGINNINGS = {
    "ietf": ("", {"upload_complete": "?0"}),
    "tus": ("/", {"tus_resumable": "1.0.0", "upload_length": "5"}),
    "parts": ("?parts", {}),
    "content-range": ("?uploadType=resumable", {}),
}


@pytest.mark.parametrize("dialect", BEGINNINGS)
async def test_it_is_found_where_all_uploads_are(store: FileStore, dialect: str) -> None:
    path, headers = BEGINNINGS[dialect]
    got = await Instance(store, base_path="/files").got("POST", path, root="/photos", **headers)
    assert got.headers["location"] == f"/files/{got.id}"


async def test_its_handler_sees_the_route_and_the_fields_that_it_asked_for(store: FileStore) -> None:
    instance = Instance(store, base_path="/files", keep_headers=("X-Album", "X-Absent"))
    headers = {"x_album": "summer", "x_other": "1", "content_type": "image/png"}
    got = await instance.got("POST", "", root="/photos", upload_complete="?0", **headers)
    append = {"upload_offset": "0", "upload_complete": "?1", "content_type": "application/partial-upload"}
    assert (await instance.got("PATCH", f"/{got.id}", b"hello", **append)).status == 200
    (finished,) = instance.finished
    assert (finished.target, finished.headers) == ("/photos", {"content-type": "image/png", "x-album": "summer"})
    assert await content(instance, got.id) == b"hello"


async def test_the_parts_of_a_whole_are_named_as_they_are_found(store: FileStore) -> None:
    instance = Instance(store, base_path="/files")
    tus = {"tus_resumable": "1.0.0"}
    part = await instance.got("POST", "", b"", root="/photos", **tus, upload_length="0", upload_concat="partial")
    named = f"final;{part.headers['location']}"
    whole = await instance.got("POST", "", root="/photos", **tus, upload_concat=named)
    assert whole.status == 201


@pytest.mark.parametrize("headers", [{}, {"upload_complete": "?1"}], ids=["plain", "ietf"])
async def test_where_the_application_says_where_it_has_put_it_that_is_where_it_is(
    store: FileStore, headers: dict[str, str]
) -> None:
    async def handler(finished: CompletedUpload) -> Response:
        return Response(201, (("location", "/photos/7"),))

    got = await Instance(store, handler, base_path="/files").got("POST", "", b"hello", root="/photos", **headers)
    assert (got.status, got.headers["location"]) == (201, "/photos/7")


async def status_of(instance: Instance, fields: list[tuple[bytes, bytes]]) -> int:
    """Of an empty POST with these fields."""
    sent = list[Message]()

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": fields}
    await instance.app(scope, receive, send)
    status: int = sent[0]["status"]
    return status


async def test_a_head_over_the_bound_is_refused_before_the_application_reads_it(store: FileStore) -> None:
    """Some servers have no bound: uvicorn's parser httptools takes heads of any size."""
    asked = list[object]()

    def authorise(scope: Scope) -> str:
        asked.append(scope)
        return ""

    instance = Instance(store, authorise=authorise)
    assert await status_of(instance, [(b"x", b"x" * MAX_HEAD)]) == 431
    assert await status_of(instance, [(b"x", b"y")] * 200_000) == 431
    assert asked == []
    assert await status_of(instance, [(b"x", b"y")] * (MAX_HEAD // len(b"x: y\r\n"))) == 200


def test_repeated_fields_cost_as_much_as_different_ones() -> None:
    """Far above the bound, so that work that is not linear shows: seconds instead of hundredths."""

    def cost(names: Iterable[bytes]) -> float:
        scope = {"headers": [(name, b"y" * 10) for name in names]}
        began = time.process_time()
        _headers(scope)
        return time.process_time() - began

    different = min(cost(b"%d" % i for i in range(50_000)) for _ in range(3))
    assert cost([b"x"] * 50_000) < 5 * different


async def test_the_store_is_not_read_for_a_client_that_has_disconnected(store: FileStore) -> None:
    """A server drops what is sent to such a client, without an error."""
    instance = Instance(store)
    place = (await instance.got("POST", "/", bytes(20_000_000))).headers["location"]
    gone, pieces = asyncio.Event(), 0

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal pieces
        pieces += message["type"] == "http.response.body"
        gone.set()

    scope = {"type": "http", "method": "GET", "path": f"{place}/content", "query_string": b"", "headers": []}
    await instance.app({**scope, "root_path": "/files"}, receive, send)
    assert pieces < 10
