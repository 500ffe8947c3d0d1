"""Digests, checksums and media types over every request with bytes, in every dialect and spelling."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
from tests.unit.uploads.dialects.test_bad_input import BEGIN, IETF, IETF_APPEND, TUS, TUS_APPEND, check_problem
from tests.unit.uploads.serving import Got, Instance, content

from changeover.uploads import FileStore


def sha(body: bytes, algorithm: str = "sha256") -> str:
    return base64.b64encode(hashlib.new(algorithm, body).digest()).decode()


def content_digest(body: bytes) -> dict[str, str]:
    return {"content_digest": f"sha-256=:{sha(body)}:"}


def content_digest_in_capitals(body: bytes) -> dict[str, str]:
    return {"content_digest": f"md5=:AAAA:, SHA-256=:{sha(body)}:"}


def upload_checksum(body: bytes) -> dict[str, str]:
    return {"upload_checksum": f"sha1 {sha(body, 'sha1')}"}


def upload_checksum_in_capitals(body: bytes) -> dict[str, str]:
    return {"upload_checksum": f"SHA256 {sha(body)}"}


def both(body: bytes) -> dict[str, str]:
    """The checksum of tus is right; the other field decides."""
    return {**upload_checksum(b"hello"), **content_digest(body)}


def both_reversed(body: bytes) -> dict[str, str]:
    return {**content_digest(b"hello"), **upload_checksum(body)}


STATEMENTS = [
    content_digest,
    content_digest_in_capitals,
    upload_checksum,
    upload_checksum_in_capitals,
    both,
    both_reversed,
]
FIRST = {
    "ietf": {**IETF, "upload_complete": "?1"},
    "ietf, part": {**IETF, "upload_complete": "?0"},
    "tus": {**TUS_APPEND, "upload_length": "5"},
    "plain": {},
}
APPEND = {
    "ietf": ("PATCH", "", {**IETF_APPEND, "upload_offset": "0"}),
    "tus": ("PATCH", "", {**TUS_APPEND, "upload_offset": "0"}),
    "content-range": ("PUT", "", {"content_range": "bytes 0-4/5"}),
    "content-range, whole": ("PUT", "", {}),
    "parts": ("PUT", "/parts/1", {}),
}


@pytest.mark.parametrize(
    ("dialect", "state"),
    # a creation with a field of tus and without its version gets 412: test_dispatch.py
    [
        (dialect, state)
        for dialect in FIRST
        for state in STATEMENTS
        if dialect != "plain" or "content" in state.__name__
    ],
)
async def test_a_first_request_is_compared_with_all_that_it_states(
    store: FileStore, tmp_path: Path, dialect: str, state: object
) -> None:
    assert callable(state)
    instance = Instance(store)
    wrong = await instance.got("POST", "/", b"hello", **{**FIRST[dialect], **state(b"HELLO")})
    assert wrong.status == (460 if dialect == "tus" else 400)
    assert not list(tmp_path.glob("*/*"))
    assert not instance.finished
    assert (await instance.got("POST", "/", b"hello", **{**FIRST[dialect], **state(b"hello")})).status < 300


@pytest.mark.parametrize("state", STATEMENTS)
@pytest.mark.parametrize("dialect", APPEND)
async def test_an_append_is_compared_with_all_that_it_states(instance: Instance, dialect: str, state: object) -> None:
    assert callable(state)
    path, fields = BEGIN[dialect.partition(",")[0]]
    id = (await instance.got("POST", path, **fields)).id
    method, below, fields = APPEND[dialect]
    wrong = await instance.got(method, f"/{id}{below}", b"hello", **{**fields, **state(b"HELLO")})
    assert wrong.status == (460 if dialect == "tus" else 400)
    assert not instance.finished
    assert (await instance.got(method, f"/{id}{below}", b"hello", **{**fields, **state(b"hello")})).status < 300
    if dialect == "parts":
        assert (await instance.got("POST", f"/{id}/complete")).status == 200
    assert await content(instance, id) == b"hello"


async def test_bodies_that_are_not_stored_are_compared_too(instance: Instance) -> None:
    wrong = content_digest(b"other")
    check_problem(await instance.got("POST", "/?uploadType=resumable", b"{}", **wrong), 400)
    check_problem(await instance.got("POST", "/?parts", **wrong), 400)
    id = (await instance.got("POST", "/?parts", **content_digest(b""))).id
    await instance.got("PUT", f"/{id}/parts/1", b"hello")
    order = json.dumps({"parts": [1]}).encode()
    check_problem(await instance.got("POST", f"/{id}/complete", order, **wrong), 400)
    assert not instance.finished
    assert (await instance.got("POST", f"/{id}/complete", order, **content_digest(order))).status == 200


def repr_digest(body: bytes) -> dict[str, str]:
    return {"repr_digest": f"sha-256=:{sha(body)}:"}


async def last(instance: Instance, dialect: str, stated: dict[str, str], at_creation: dict[str, str]) -> Got:
    """The response to the last request of an upload of `hello`."""
    path, fields = BEGIN[dialect]
    id = (await instance.got("POST", path, **{**fields, **at_creation})).id
    if dialect == "parts":
        await instance.got("PUT", f"/{id}/parts/1", b"hello")
        return await instance.got("POST", f"/{id}/complete", **stated)
    method, below, fields = APPEND[dialect]
    return await instance.got(method, f"/{id}{below}", b"hello", **{**fields, **stated})


@pytest.mark.parametrize("at_creation", [True, False])
@pytest.mark.parametrize("dialect", BEGIN)
async def test_a_whole_upload_is_compared_with_its_repr_digest(
    instance: Instance, dialect: str, at_creation: bool
) -> None:
    wrong = await last(instance, dialect, *((repr_digest(b"HELLO"), {})[:: -1 if at_creation else 1]))
    assert wrong.status == (460 if dialect == "tus" else 400)
    assert not instance.finished
    right = await last(instance, dialect, *((repr_digest(b"hello"), {})[:: -1 if at_creation else 1]))
    assert right.status < 300
    assert len(instance.finished) == 1


async def test_the_repr_digest_of_a_part_is_that_of_the_part(instance: Instance) -> None:
    id = (await instance.got("POST", "/?parts")).id
    check_problem(await instance.got("PUT", f"/{id}/parts/1", b"hello", **repr_digest(b"HELLO")), 400)
    assert (await instance.got("PUT", f"/{id}/parts/1", b"hello", **repr_digest(b"hello"))).status == 200


SPELLINGS = [str.lower, str.upper, str.title, "{}; charset=utf-8".format, " {} ".format]


@pytest.mark.parametrize("spell", SPELLINGS)
@pytest.mark.parametrize("dialect", ["ietf", "tus"])
async def test_a_media_type_has_no_case_and_may_have_parameters(
    instance: Instance, dialect: str, spell: object
) -> None:
    assert callable(spell)
    path, fields = BEGIN[dialect]
    id = (await instance.got("POST", path, **fields)).id
    method, _, fields = APPEND[dialect]
    spelled = {**fields, "content_type": spell(fields["content_type"])}
    assert (await instance.got(method, f"/{id}", b"hello", **spelled)).status < 300
    assert await content(instance, id) == b"hello"


@pytest.mark.parametrize("spell", SPELLINGS)
async def test_a_creation_of_tus_takes_its_body_in_every_spelling_of_its_type(
    instance: Instance, spell: object
) -> None:
    assert callable(spell)
    fields = {**TUS, "upload_length": "5", "content_type": spell(TUS_APPEND["content_type"])}
    assert (await instance.got("POST", "/", b"hello", **fields)).headers["upload-offset"] == "5"
    assert "content-type" not in instance.finished[0].headers


@pytest.mark.parametrize("kind", ["application/partial-uploads", "text/plain", "", "x/application/partial-upload"])
@pytest.mark.parametrize("dialect", ["ietf", "tus"])
async def test_another_media_type_gets_415(instance: Instance, dialect: str, kind: str) -> None:
    path, fields = BEGIN[dialect]
    id = (await instance.got("POST", path, **fields)).id
    method, _, fields = APPEND[dialect]
    check_problem(await instance.got(method, f"/{id}", b"hello", **{**fields, "content_type": kind}), 415)
