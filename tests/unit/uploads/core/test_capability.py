"""The capability of one upload: it continues this upload without credentials, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from tests.unit.uploads.serving import Instance

from changeover.uploads import FileStore, Forbidden

PART = {"content_type": "application/partial-upload", "upload_complete": "?1"}


def ann_only(scope: Any) -> str:
    owner = dict(scope["headers"]).get(b"x-user", b"").decode()
    if not owner:
        raise Forbidden("log in first")
    return str(owner)


async def granted(instance: Instance) -> tuple[str, str]:
    """The id of an upload of Ann's, and the path below the mount that continues it."""
    asked = {"upload_complete": "?0", "upload_capability": "?1", "x_user": "ann"}
    got = await instance.got("POST", "/", **asked)
    assert got.status == 201
    return got.id, urljoin("/", got.headers["upload-capability"])


async def test_its_holder_continues_the_upload_without_credentials(tmp_path: Path) -> None:
    first, second = (Instance(FileStore(tmp_path), authorise=ann_only) for _ in range(2))
    id, path = await granted(first)
    assert (await second.got("HEAD", path)).headers["upload-offset"] == "0"
    assert (await second.got("PATCH", path, b"hello", upload_offset="0", **PART)).status == 200
    assert [(upload.id, upload.owner) for upload in second.finished] == [(id, "ann")]
    again = await first.got("PATCH", path, upload_offset="5", **PART)
    assert (again.status, again.headers["upload-complete"], first.finished) == (200, "?1", [])


async def test_its_holder_cancels_the_upload_and_it_ends_with_it(tmp_path: Path) -> None:
    instance = Instance(FileStore(tmp_path), authorise=ann_only)
    _, path = await granted(instance)
    assert (await instance.got("DELETE", path)).status == 204
    assert (await instance.got("HEAD", path)).status == 404


@pytest.mark.parametrize("method", ["HEAD", "GET", "PATCH", "DELETE", "PUT"])
async def test_it_gives_access_to_no_other_upload_and_to_nothing_below(tmp_path: Path, method: str) -> None:
    instance = Instance(FileStore(tmp_path), authorise=ann_only)
    id, path = await granted(instance)
    other, _ = await granted(instance)
    plain = await instance.got("POST", "/", upload_complete="?0", x_user="ann")
    for wrong in (
        path.replace(id, other),
        path.replace(id, plain.id),
        f"/{plain.id}/continue/",
        f"/{id}/continue/{'x' * 43}",
        f"{path}/content",
        f"/{id}/content",
        f"/{id}",
    ):
        got = await instance.got(method, wrong, b"hello", upload_offset="0", **PART)
        assert got.status in (403, 404), wrong
    assert (await instance.got("HEAD", path)).headers["upload-offset"] == "0"


async def test_it_is_granted_only_where_the_client_asks(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    got = await Instance(store).got("POST", "/", upload_complete="?0")
    assert "upload-capability" not in got.headers
    assert b"capability" not in (await store.read(got.id))[0]


@pytest.mark.parametrize(
    ("root", "path", "base", "reference"),
    [
        ("/files", "/", "", "{}"),
        ("/files", "", "", "files/{}"),
        ("", "/", "", "{}"),
        ("/ann lee/files", "", "", "files/{}"),
        ("/files", "/", "/api/files", "{}"),
        ("/photos", "", "/files", "/files/{}"),
    ],
)
async def test_its_reference_leads_to_the_upload_whichever_prefix_a_proxy_strips(
    tmp_path: Path, root: str, path: str, base: str, reference: str
) -> None:
    instance = Instance(FileStore(tmp_path), base_path=base)
    got = await instance.got("POST", path, root=root, upload_complete="?0", upload_capability="?1")
    below = got.headers["upload-capability"].partition(got.id)[2]
    assert got.headers["upload-capability"] == reference.format(got.id + below)


async def test_the_store_has_its_hash_alone(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    id, path = await granted(Instance(store, authorise=ann_only))
    record = (await store.read(id))[0]
    assert b'"upload-capability"' in record
    assert path.rpartition("/")[2].encode() not in record


async def test_a_release_without_capabilities_reads_the_record(tmp_path: Path) -> None:
    """That release refuses a record with a key that it does not know."""
    store = FileStore(tmp_path)
    id, _ = await granted(Instance(store, authorise=ann_only))
    plain = await Instance(store, authorise=ann_only).got("POST", "/", upload_complete="?0", x_user="ann")
    with_one, without = [json.loads((await store.read(each))[0]) for each in (id, plain.id)]
    assert with_one.keys() == without.keys()


async def test_a_middleware_learns_whether_a_request_is_authorised_by_it(tmp_path: Path) -> None:
    instance = Instance(FileStore(tmp_path), authorise=ann_only, base_path="/files")
    id, path = await granted(instance)

    async def is_authorised(path: str, root_path: str = "") -> bool:
        return await instance.app.is_authorised({"type": "http", "path": path, "root_path": root_path}, "/files")

    assert await is_authorised("/files" + path)
    assert await is_authorised("/api/files" + path, "/api")
    secret = path.rpartition("/")[2]
    for other in (
        f"/files/{id}",
        f"/files/{id}/continue/x",
        f"/admin/{id}/continue/{secret}",
        f"/files/admin/{id}/continue/{secret}",
        f"/filesystem/{id}/continue/{secret}",
        f"/files{path}/",
        "/",
    ):
        assert not await is_authorised(other), other
