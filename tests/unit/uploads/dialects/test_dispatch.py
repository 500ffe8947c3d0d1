"""Which dialect a request is of: none is taken for a complete upload that it is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.uploads.dialects.test_bad_input import check_problem
from tests.unit.uploads.serving import Instance, content

TUS_TYPE = "application/offset+octet-stream"

# -- tus without its version -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"upload_length": "5"},
        {"upload_length": "0"},
        {"upload_defer_length": "1"},
        {"upload_metadata": "filename eA=="},
        {"upload_metadata": "filename eA==", "upload_length": "5"},
        {"upload_concat": "partial"},
        {"upload_concat": "final;/files/a /files/b"},
        {"upload_checksum": "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00="},
        {"content_type": TUS_TYPE},
        {"content_type": "Application/Offset+Octet-Stream; x=1"},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("body", [b"", b"hello"])
async def test_a_creation_of_tus_without_its_version_gets_412_and_creates_nothing(
    instance: Instance, tmp_path: Path, fields: dict[str, str], method: str, body: bytes
) -> None:
    got = await instance.got(method, "/", body, **fields)
    check_problem(got, 412)
    assert got.headers["tus-version"] == got.headers["tus-resumable"] == "1.0.0"
    assert not list(tmp_path.glob("*/*"))


async def test_an_append_of_tus_without_its_version_gets_412_and_appends_nothing(instance: Instance) -> None:
    id = (await instance.got("POST", "/", tus_resumable="1.0.0", upload_length="5")).id
    check_problem(await instance.got("PATCH", f"/{id}", b"hello", content_type=TUS_TYPE, upload_offset="0"), 412)
    assert (await instance.got("HEAD", f"/{id}", tus_resumable="1.0.0")).headers["upload-offset"] == "0"


async def test_upload_length_beside_upload_complete_is_of_the_ietf_dialect(instance: Instance) -> None:
    assert (await instance.got("POST", "/", b"hello", upload_length="5", upload_complete="?1")).status == 200


# -- queries ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["parts", "parts=", "parts=1", "parts&name=x", "name=x&parts", "%70arts"])
async def test_a_query_with_parts_creates_an_upload_in_parts(instance: Instance, query: str) -> None:
    got = await instance.got("POST", f"/?{query}")
    assert got.status == 201
    assert (await instance.got("PUT", f"/{got.id}/parts/1", b"hello")).status == 200
    assert not instance.finished


async def test_a_creation_in_parts_refuses_a_body_instead_of_losing_it(instance: Instance, tmp_path: Path) -> None:
    check_problem(await instance.got("POST", "/?parts", b"hello"), 400)
    assert not list(tmp_path.glob("*/*"))


@pytest.mark.parametrize(
    "query", ["uploadType=resumable&name=x", "name=x&uploadType=resumable", "uploadType=%72esumable"]
)
async def test_a_resumable_upload_type_begins_an_upload(instance: Instance, query: str) -> None:
    assert "location" in (await instance.got("POST", f"/?{query}", b'{"name": "x"}')).headers
    assert not instance.finished


@pytest.mark.parametrize("query", ["uploadType=multipart", "uploadType=Resumable", "uploadType=", "uploadType"])
async def test_another_upload_type_is_refused(instance: Instance, tmp_path: Path, query: str) -> None:
    check_problem(await instance.got("POST", f"/?{query}"), 400)
    assert not list(tmp_path.glob("*/*"))


async def test_an_announced_range_without_its_upload_type_is_refused(instance: Instance, tmp_path: Path) -> None:
    check_problem(await instance.got("POST", "/", x_upload_content_length="5"), 400)
    check_problem(await instance.got("POST", "/", x_upload_content_type="text/plain"), 400)
    assert not list(tmp_path.glob("*/*"))


# -- drafts that are unknown -----------------------------------------------------------------------------------------

every_unknown = pytest.mark.parametrize("version", ["1", "2", "4", "7", "10", "99", "123456789012345"])


@every_unknown
@pytest.mark.parametrize("whole", [{"upload_complete": "?1"}, {"upload_incomplete": "?0"}], ids=str)
async def test_a_whole_body_in_an_unknown_draft_succeeds_as_a_plain_one(
    instance: Instance, version: str, whole: dict[str, str]
) -> None:
    got = await instance.got("POST", "/", b"hello", upload_draft_interop_version=version, **whole)
    assert (got.status, got.body) == (200, b"thanks")
    assert await content(instance, got.id) == b"hello"


@every_unknown
@pytest.mark.parametrize("part", [{"upload_complete": "?0"}, {"upload_incomplete": "?1"}, {}], ids=str)
async def test_a_body_in_an_unknown_draft_that_may_be_a_part_is_refused(
    instance: Instance, tmp_path: Path, version: str, part: dict[str, str]
) -> None:
    check_problem(await instance.got("POST", "/", b"hel", upload_draft_interop_version=version, **part), 400)
    assert not list(tmp_path.glob("*/*"))


@every_unknown
async def test_an_append_in_an_unknown_draft_is_refused_and_appends_nothing(instance: Instance, version: str) -> None:
    id = (await instance.got("POST", "/", b"hel", upload_complete="?0")).id
    fields = {"upload_offset": "3", "upload_complete": "?1", "content_type": "application/partial-upload"}
    got = await instance.got("PATCH", f"/{id}", b"lo", upload_draft_interop_version=version, **fields)
    check_problem(got, 400)
    assert (await instance.got("HEAD", f"/{id}")).headers["upload-offset"] == "3"
