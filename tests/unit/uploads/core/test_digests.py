"""RFC 9530 on uploads: a request's own digest, and that of the whole."""

from __future__ import annotations

import asyncio
import hashlib
import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from tests.unit.uploads.serving import Got, Instance, Sending, content

from changeover.uploads import FileStore, Limits
from changeover.uploads.protocols import digest

PARTIAL = "application/partial-upload"
PROBLEMS = "https://iana.org/assignments/http-problem-types#"
every_algorithm = pytest.mark.parametrize("algorithm", digest.ALGORITHMS)


def digest_field(body: bytes, algorithm: str = "sha-256") -> str:
    return f"{algorithm}=:{b64encode(hashlib.new(digest.ALGORITHMS[algorithm], body).digest()).decode()}:"


def document(got: Got) -> dict[str, Any]:
    assert got.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = json.loads(got.body)
    return found


async def begun(instance: Instance, body: bytes = b"", **headers: str) -> str:
    return (await instance.got("POST", "/", body, upload_complete="?0", **headers)).id


async def append(instance: Instance, id: str, at: int, body: bytes | Sending, complete: str, **more: str) -> Got:
    digest_field = {"upload_offset": str(at), "upload_complete": complete, "content_type": PARTIAL, **more}
    return await instance.got("PATCH", f"/{id}", body, **digest_field)


# -- Content-Digest --------------------------------------------------------------------------------------------------


@every_algorithm
async def test_content_that_is_what_its_digest_says_is_taken(instance: Instance, algorithm: str) -> None:
    id = await begun(instance, b"he", content_digest=digest_field(b"he", algorithm))
    assert (await append(instance, id, 2, b"llo", "?1", content_digest=digest_field(b"llo", algorithm))).status == 200
    assert await content(instance, id) == b"hello"


@every_algorithm
async def test_content_that_is_not_is_not_appended_and_the_upload_goes_on(instance: Instance, algorithm: str) -> None:
    id = await begun(instance, b"he")
    got = await append(instance, id, 2, b"llo", "?1", content_digest=digest_field(b"LLO", algorithm))
    assert (got.status, got.headers["upload-offset"], got.headers["upload-complete"]) == (400, "2", "?0")
    problem = document(got)
    assert problem["type"] == PROBLEMS + "digest-mismatching-value"
    assert f"{problem['algorithm']}={problem['provided-digest']}" == digest_field(b"LLO", algorithm)
    assert (await append(instance, id, 2, b"llo", "?1", content_digest=digest_field(b"llo"))).status == 200
    assert await content(instance, id) == b"hello"


async def test_one_digest_of_several_that_is_wrong_is_enough(instance: Instance) -> None:
    both = f"{digest_field(b'hello')}, {digest_field(b'HELLO', 'sha-512')}"
    assert (await instance.got("POST", "/", b"hello", content_digest=both)).status == 400


@pytest.mark.parametrize(
    "begins", [{"upload_complete": "?1"}, {"upload_complete": "?0"}, {}], ids=["ietf", "ietf, part", "plain"]
)
async def test_a_first_request_with_another_digest_leaves_nothing(
    store: FileStore, tmp_path: Path, begins: dict[str, str]
) -> None:
    instance = Instance(store)
    got = await instance.got("POST", "/", b"hello", content_digest=digest_field(b"HELLO"), **begins)
    assert document(got)["type"] == PROBLEMS + "digest-mismatching-value"
    assert not list(tmp_path.glob("*/*"))
    assert not instance.finished


async def test_a_part_and_a_range_and_a_tus_patch_are_checked_too(instance: Instance) -> None:
    wrong, right = {"content_digest": digest_field(b"HELLO")}, {"content_digest": digest_field(b"hello")}
    part = f"/{(await instance.got('POST', '/?parts')).id}/parts/1"
    assert (await instance.got("PUT", part, b"hello", **wrong)).status == 400
    assert json.loads((await instance.got("GET", part.rpartition("/")[0])).body) == {"parts": []}
    assert (await instance.got("PUT", part, b"hello", **right)).status == 200

    place = "/" + (await instance.got("POST", "/?uploadType=resumable")).id
    ranged = {"content_range": "bytes 0-4/5"}
    assert (await instance.got("PUT", place, b"hello", **ranged, **wrong)).status == 400
    assert (await instance.got("PUT", place, content_range="bytes */*")).headers.get("range") is None
    assert (await instance.got("PUT", place, b"hello", **ranged, **right)).status == 200

    tus = {"tus_resumable": "1.0.0"}
    place = "/" + (await instance.got("POST", "/", **tus, upload_length="5")).id
    patch = {**tus, "upload_offset": "0", "content_type": "application/offset+octet-stream"}
    assert (await instance.got("PATCH", place, b"hello", **patch, **wrong)).status == 460
    assert (await instance.got("HEAD", place, **tus)).headers["upload-offset"] == "0"
    assert (await instance.got("PATCH", place, b"hello", **patch, **right)).status == 204


async def test_nothing_unchecked_is_kept_of_a_client_that_hung_up(instance: Instance) -> None:
    id = await begun(instance, b"he")
    body = Sending()
    body.send(b"ll")
    body.hang_up()
    more = {"upload_offset": "2", "upload_complete": "?1", "content_type": PARTIAL}
    assert await instance.ask("PATCH", f"/{id}", body, **more, content_digest=digest_field(b"llo")) is None
    assert (await instance.got("HEAD", f"/{id}")).headers["upload-offset"] == "2"


@pytest.mark.parametrize("field", ["content_digest", "repr_digest"])
@pytest.mark.parametrize("text", ["md5=:AAAA:", "sha=:AAAA:, crc32c=:AAAAAA==:", "unixsum=1"])
async def test_algorithms_that_are_not_known_are_passed_over(instance: Instance, field: str, text: str) -> None:
    assert (await instance.got("POST", "/", b"hello", **{field: text})).status == 200


@pytest.mark.parametrize("field", ["content_digest", "repr_digest"])
@pytest.mark.parametrize(
    ("text", "type"),
    [
        ("sha-256=:AAAA:", PROBLEMS + "digest-invalid-value"),
        ("sha-512=1", PROBLEMS + "digest-invalid-value"),
        ("sha-256=:not base64:", None),
        ("sha-256=(", None),
        ("ü=1", None),
    ],
)
@pytest.mark.parametrize("begins", [{"upload_complete": "?0"}, {}], ids=["ietf", "plain"])
async def test_a_digest_that_cannot_be_read_is_refused_and_leaves_nothing(
    instance: Instance, tmp_path: Path, field: str, text: str, type: str | None, begins: dict[str, str]
) -> None:
    got = await instance.got("POST", "/", b"hello", **{field: text}, **begins)
    assert (got.status, document(got).get("type")) == (400, type)
    assert not list(tmp_path.glob("*/*"))


# -- Repr-Digest -----------------------------------------------------------------------------------------------------


@every_algorithm
@pytest.mark.parametrize("when", ["at the beginning", "with the last bytes"])
async def test_an_upload_that_is_what_its_digest_says_is_handed_on(
    instance: Instance, algorithm: str, when: str
) -> None:
    about = {"repr_digest": digest_field(b"hello", algorithm)}
    id = await begun(instance, b"he", **(about if when == "at the beginning" else {}))
    got = await append(instance, id, 2, b"llo", "?1", **({} if when == "at the beginning" else about))
    assert (got.status, len(instance.finished)) == (200, 1)


@every_algorithm
@pytest.mark.parametrize("when", ["at the beginning", "with the last bytes"])
async def test_an_upload_that_is_not_is_never_handed_on_and_is_gone(
    instance: Instance, algorithm: str, when: str
) -> None:
    about = {"repr_digest": digest_field(b"HELLO", algorithm)}
    id = await begun(instance, b"he", **(about if when == "at the beginning" else {}))
    got = await append(instance, id, 2, b"llo", "?1", **({} if when == "at the beginning" else about))
    assert (got.status, document(got)["type"]) == (400, PROBLEMS + "digest-mismatching-value")
    assert not instance.finished
    assert (await instance.got("HEAD", f"/{id}")).status == 404
    assert (await instance.got("GET", f"/{id}/content")).status == 404


async def test_the_digest_that_came_last_is_the_one_that_holds(instance: Instance) -> None:
    id = await begun(instance, b"he", repr_digest=digest_field(b"HELLO"))
    assert (await append(instance, id, 2, b"llo", "?1", repr_digest=digest_field(b"hello"))).status == 200


async def test_the_whole_is_checked_in_the_other_dialects_that_can_say_it(instance: Instance) -> None:
    wrong = {"repr_digest": digest_field(b"HELLO")}
    assert (await instance.got("POST", "/", b"hello", **wrong)).status == 400
    id = (await instance.got("POST", "/?parts", **wrong)).id
    await instance.got("PUT", f"/{id}/parts/1", b"hello")
    assert (await instance.got("POST", f"/{id}/complete")).status == 400
    id = (await instance.got("POST", "/?uploadType=resumable")).id
    assert (await instance.got("PUT", f"/{id}", b"hello", content_range="bytes 0-4/5", **wrong)).status == 400
    assert not instance.finished


async def test_an_upload_of_many_segments_is_checked_as_one(store: FileStore) -> None:
    instance = Instance(store, limits=Limits(segment=3))
    for digest_of, status in ((b"0123456789", 200), (b"0123456780", 400)):
        body = Sending()
        for piece in (b"0123", b"4567", b"89"):
            body.send(piece)
            await asyncio.sleep(0)
        body.end()
        got = await instance.got("POST", "/", body, upload_complete="?1", repr_digest=digest_field(digest_of))
        assert got.status == status


async def test_options_say_which_digests_are_wanted(instance: Instance) -> None:
    headers = (await instance.got("OPTIONS", "/")).headers
    assert headers["want-content-digest"] == headers["want-repr-digest"] == "sha-256=2, sha-512=1"
