"""Uploads that are begun at a route of the application's own, and found where all uploads are."""

from __future__ import annotations

import pytest
from tests.unit.uploads.serving import Instance, content

from changeover.uploads import CompletedUpload, FileStore, Response

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
