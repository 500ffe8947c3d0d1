"""A plain POST or PUT, and what is the same for every dialect."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.types import Scope
from tests.unit.uploads.serving import Instance, Sending, content

from changeover.uploads import CompletedUpload, FileStore, Forbidden, Limits, Response


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_the_body_is_the_upload_and_the_answer_is_the_applications(instance: Instance, method: str) -> None:
    got = await instance.got(method, "/", b"hello", content_type="text/plain")
    assert (got.status, got.body, got.headers["x-size"]) == (200, b"thanks", "5")
    assert await content(instance, got.id) == b"hello"
    [finished] = instance.finished
    assert (finished.method, finished.target, finished.headers) == (method, "/files/", {"content-type": "text/plain"})
    assert await finished.digest("md5") == "5d41402abc4b2a76b9719d911017c592"


async def test_a_client_that_hung_up_leaves_nothing(instance: Instance, tmp_path: Path) -> None:
    """It does not know a URL at which to continue."""
    body = Sending()
    body.send(b"hel")
    body.hang_up()
    assert await instance.ask("POST", "/", body) is None
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not instance.finished


async def test_a_body_that_is_too_large_leaves_nothing(store: FileStore, tmp_path: Path) -> None:
    instance = Instance(store, limits=Limits(max_size=4))
    body = Sending()
    body.send(b"hello")
    body.end()
    assert (await instance.got("POST", "/", body)).status == 413
    assert (await instance.got("POST", "/", b"hello")).status == 413
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


async def test_a_body_that_is_not_what_its_size_says_is_refused(instance: Instance) -> None:
    for size in ("4", "6"):
        body = Sending()
        body.send(b"hello")
        body.end()
        assert (await instance.got("POST", "/", body, content_length=size)).status == 400
    assert not instance.finished


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PATCH"])
async def test_a_method_that_means_nothing_here_is_refused(instance: Instance, method: str) -> None:
    got = await instance.got(method, "/")
    assert (got.status, got.headers["allow"]) == (405, "POST, PUT, OPTIONS")


async def test_content_is_given_out_only_when_it_is_complete(instance: Instance) -> None:
    id = (await instance.got("POST", "/", b"hel", upload_complete="?0")).id
    assert (await instance.got("GET", f"/{id}/content")).status == 404
    id = (await instance.got("POST", "/", b"hello")).id
    head = await instance.got("HEAD", f"/{id}/content")
    assert (head.status, head.headers["content-length"], head.body) == (200, "5", b"")
    assert head.headers["x-content-type-options"] == "nosniff"


async def test_an_upload_belongs_to_who_made_it(store: FileStore) -> None:
    """The response is the same as for an upload that never existed."""

    def authorise(scope: Scope) -> str:
        user: bytes = dict(scope["headers"])[b"user"]
        return user.decode()

    instance = Instance(store, authorise=authorise)
    id = (await instance.got("POST", "/", b"hel", upload_complete="?0", user="ann")).id
    append = {"upload_offset": "3", "upload_complete": "?1", "content_type": "application/partial-upload"}
    for method, headers in (("HEAD", {}), ("DELETE", {}), ("PATCH", append)):
        theirs = await instance.got(method, f"/{id}", user="bob", **headers)
        never = await instance.got(method, "/" + "a" * 32, user="bob", **headers)
        assert (theirs.status, theirs.headers, theirs.body) == (never.status, never.headers, never.body)
        assert theirs.status == 404
    assert (await instance.got("GET", f"/{id}/content", user="bob")).status == 404
    assert (await instance.got("HEAD", f"/{id}", user="ann")).headers["upload-offset"] == "3"
    assert (await instance.got("PATCH", f"/{id}", b"lo", user="ann", **append)).status == 200
    assert instance.finished[0].owner == "ann"


async def test_who_may_not_upload_is_told_so_before_a_byte_is_kept(store: FileStore, tmp_path: Path) -> None:
    async def no_owner(_: Scope) -> str:
        raise Forbidden("log in first")

    got = await Instance(store, authorise=no_owner).got("POST", "/", b"hello")
    assert (got.status, b"log in first" in got.body) == (403, True)
    assert not list(tmp_path.iterdir())


async def test_the_answer_of_the_application_comes_with_its_fields(store: FileStore) -> None:
    async def made(finished: CompletedUpload) -> Response:
        return Response(201, (("X-Id", finished.id), ("Set-Cookie", "a=b")), b"made")

    got = await Instance(store, made).got("POST", "/", b"hello")
    assert (got.status, got.body, got.headers["set-cookie"]) == (201, b"made", "a=b")
