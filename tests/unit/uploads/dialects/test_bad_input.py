"""Requests that make no sense or mean harm, in every dialect: the right status, a problem document, nothing lost.

What only one dialect has (its version, its metadata, its checksum, its ranges) is in the tests of that dialect.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest
from starlette.types import Scope
from tests.unit.uploads.serving import Got, Instance, Sending, content

from changeover.uploads import FileStore, Limits

IETF = {"upload_draft_interop_version": "9"}
TUS = {"tus_resumable": "1.0.0"}
IETF_APPEND = {**IETF, "upload_complete": "?1", "content_type": "application/partial-upload"}
TUS_APPEND = {**TUS, "content_type": "application/offset+octet-stream"}

Request = tuple[str, str, bytes, dict[str, str]]
"""Method, what follows the id, body, fields."""

BEGIN: Mapping[str, tuple[str, dict[str, str]]] = {
    "ietf": ("/", {**IETF, "upload_complete": "?0"}),
    "tus": ("/", {**TUS, "upload_length": "5"}),
    "parts": ("/?parts", {}),
    "content-range": ("/?uploadType=resumable", {"x_upload_content_length": "5"}),
}
FINISH: Mapping[str, list[Request]] = {
    "ietf": [("PATCH", "", b"hello", {**IETF_APPEND, "upload_offset": "0"})],
    "tus": [("PATCH", "", b"hello", {**TUS_APPEND, "upload_offset": "0"})],
    "parts": [("PUT", "/parts/1", b"hello", {}), ("POST", "/complete", b"", {})],
    "content-range": [("PUT", "", b"hello", {"content_range": "bytes 0-4/5"})],
}
ASK: Mapping[str, list[Request]] = {
    "ietf": [("HEAD", "", b"", IETF), ("GET", "", b"", IETF)],
    "tus": [("HEAD", "", b"", TUS)],
    "parts": [("GET", "/parts", b"", {})],
    "content-range": [("PUT", "", b"", {"content_range": "bytes */*"})],
}
MORE: Mapping[str, list[Request]] = {
    "ietf": [("PATCH", "", b"more", {**IETF_APPEND, "upload_offset": "5"})],
    "tus": [("PATCH", "", b"more", {**TUS_APPEND, "upload_offset": "5"})],
    "parts": [("PUT", "/parts/2", b"more", {})],
    "content-range": [],  # answered as a repetition: see its own tests
}
CANCEL: Mapping[str, Request] = {dialect: ("DELETE", "", b"", TUS if dialect == "tus" else {}) for dialect in BEGIN}
every_dialect = pytest.mark.parametrize("dialect", BEGIN)


async def begun(instance: Instance, dialect: str, **more: str) -> str:
    path, fields = BEGIN[dialect]
    return (await instance.got("POST", path, **fields, **more)).id


async def ask(instance: Instance, id: str, request: Request, **more: str) -> Got:
    method, below, body, fields = request
    return await instance.got(method, f"/{id}{below}", body, **fields, **more)


def check_problem(got: Got, status: int) -> None:
    assert (got.status, got.headers["content-type"]) == (status, "application/problem+json")
    if got.body:  # which HEAD has none of
        assert json.loads(got.body)["status"] == status


@every_dialect
async def test_a_finished_upload_takes_nothing_more_and_loses_nothing(instance: Instance, dialect: str) -> None:
    id = await begun(instance, dialect)
    for request in FINISH[dialect]:
        assert (await ask(instance, id, request)).status < 300
    for request in MORE[dialect]:
        got = await ask(instance, id, request)
        assert got.status in (400, 409)
        check_problem(got, got.status)
    for request in ASK[dialect]:
        assert (await ask(instance, id, request)).status < 300
    assert await content(instance, id) == b"hello"
    assert len(instance.finished) == 1


@every_dialect
@pytest.mark.parametrize("whole", [True, False], ids=["finished", "unfinished"])
async def test_a_deleted_upload_is_gone_for_every_request(instance: Instance, dialect: str, whole: bool) -> None:
    id = await begun(instance, dialect)
    for request in FINISH[dialect] if whole else []:
        await ask(instance, id, request)
    assert (await ask(instance, id, CANCEL[dialect])).status == 204
    for request in (*ASK[dialect], *FINISH[dialect], *MORE[dialect], CANCEL[dialect]):
        check_problem(await ask(instance, id, request), 404)
    assert (await instance.got("GET", f"/{id}/content")).status == 404


@every_dialect
@pytest.mark.parametrize("whole", [True, False], ids=["finished", "unfinished"])
async def test_somebody_elses_upload_is_as_if_it_had_never_been(store: FileStore, dialect: str, whole: bool) -> None:
    def authorise(scope: Scope) -> str:
        user: bytes = dict(scope["headers"])[b"user"]
        return user.decode()

    instance = Instance(store, authorise=authorise)
    id = await begun(instance, dialect, user="ann")
    for request in FINISH[dialect] if whole else []:
        await ask(instance, id, request, user="ann")
    for request in (*ASK[dialect], *FINISH[dialect], *MORE[dialect], CANCEL[dialect]):
        theirs = await ask(instance, id, request, user="bob")
        never = await ask(instance, "a" * 32, request, user="bob")
        check_problem(theirs, 404)
        assert theirs == never
    assert (await instance.got("GET", f"/{id}/content", user="bob")).status == 404
    for request in [] if whole else FINISH[dialect]:
        assert (await ask(instance, id, request, user="ann")).status < 300
    assert (await instance.got("GET", f"/{id}/content", user="ann")).body == b"hello"


@every_dialect
async def test_an_upload_spoken_to_in_another_dialect_is_refused_or_goes_on_and_loses_nothing(
    instance: Instance, dialect: str
) -> None:
    for other in BEGIN.keys() - {dialect}:
        id = await begun(instance, dialect)
        for request in (*MORE[other], *ASK[other]):
            got = await ask(instance, id, request)
            assert got.status < 500
            assert got.status < 400 or got.headers["content-type"] == "application/problem+json"
        for request in FINISH[dialect]:
            assert (await ask(instance, id, request)).status < 300
        assert await content(instance, id) == b"hello"


# -- ways out of the store -------------------------------------------------------------------------------------------

TRICKS = [
    "..",
    ".",
    "../secret",
    "../../etc/passwd",
    "%2e%2e%2fsecret",
    "..\\secret",
    "~root",
    "\x00",
    "a" * 32 + "\x00",
    "a" * 32 + "\n",
    "a" * 300,
    "ａ" * 32,
    "record.1",
    "segments",
    "'; drop table uploads; --",
    "<script>",
]


def outside(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}


@every_dialect
@pytest.mark.parametrize("trick", TRICKS)
async def test_no_name_of_an_upload_is_a_way_out_of_the_store(tmp_path: Path, dialect: str, trick: str) -> None:
    (tmp_path / "secret").write_bytes(b"private key")
    before = outside(tmp_path)
    instance = Instance(FileStore(tmp_path / "store", durable=False))
    id = await begun(instance, dialect)
    for request in (*ASK[dialect], *FINISH[dialect], CANCEL[dialect]):
        for place in (trick, f"{trick}/{id}", f"{id}/../{trick}"):
            got = await ask(instance, place, request)
            assert got.status in (404, 405), place
            assert b"private key" not in got.body
    for place in (f"{trick}/content", f"{id}/{trick}", f"{id}/parts/{trick}", f"{id}/content/{trick}"):
        got = await instance.got("GET", f"/{place}")
        assert 400 <= got.status < 500 or trick == ".", place
    assert outside(tmp_path) == before
    for request in FINISH[dialect]:
        assert (await ask(instance, id, request)).status < 300
    assert await content(instance, id) == b"hello"


@pytest.mark.parametrize("trick", TRICKS)
async def test_no_name_of_a_file_is_a_path(tmp_path: Path, trick: str) -> None:
    """What a client says of names is text for the application."""
    (tmp_path / "secret").write_bytes(b"private key")
    before = outside(tmp_path)
    instance = Instance(FileStore(tmp_path / "store", durable=False))
    metadata = f"filename {base64.b64encode(trick.encode()).decode()}"
    id = (await instance.got("POST", "/", **TUS, upload_length="5", upload_metadata=metadata)).id
    await ask(instance, id, FINISH["tus"][0])
    assert instance.finished[0].metadata == {"filename": trick}
    named = f'attachment; filename="{trick.encode("ascii", "replace").decode()}"'
    assert (await instance.got("POST", "/", b"hello", content_disposition=named)).status == 200
    assert instance.finished[1].headers["content-disposition"] == named
    assert outside(tmp_path) == before


@pytest.mark.parametrize("trick", TRICKS)
async def test_nothing_but_an_upload_can_be_joined(tmp_path: Path, trick: str) -> None:
    instance = Instance(FileStore(tmp_path / "store", durable=False))
    for url in (f"/files/{trick}", trick, f"http://elsewhere/{trick}"):
        concat = f"final;{url.encode('ascii', 'replace').decode()}"
        got = await instance.got("POST", "/", **TUS, upload_concat=concat)
        assert got.status in (400, 404), url
    assert not list((tmp_path / "store").glob("*/*"))


# -- what its client could never go on with --------------------------------------------------------------------------

FIRST: Mapping[str, dict[str, str]] = {
    "ietf": {**IETF, "upload_complete": "?1"},
    "ietf, part": {**IETF, "upload_complete": "?0"},
    "tus": {**TUS_APPEND, "upload_length": "50"},
    "plain": {},
}
every_beginning = pytest.mark.parametrize("dialect", FIRST)


@every_beginning
async def test_a_first_request_that_is_too_large_leaves_nothing(store: FileStore, tmp_path: Path, dialect: str) -> None:
    instance = Instance(store, limits=Limits(max_append=4))
    for body in (b"hello", sent(b"he", b"llo")):
        check_problem(await instance.got("POST", "/", body, **FIRST[dialect]), 413)
        assert not list(tmp_path.glob("*/*"))


@every_beginning
async def test_a_first_request_whose_client_hung_up_leaves_nothing(
    instance: Instance, tmp_path: Path, dialect: str
) -> None:
    """Nothing tells it where the upload is before the whole answer does."""
    body = sent(b"he", gone=True)
    assert await instance.ask("POST", "/", body, **FIRST[dialect]) is None
    assert not list(tmp_path.glob("*/*"))


def sent(*pieces: bytes, gone: bool = False) -> Sending:
    sending = Sending()
    for piece in pieces:
        sending.send(piece)
    if gone:
        sending.hang_up()
    else:
        sending.end()
    return sending


Asked = Callable[[Instance], Awaitable[Got]]

TOO_LONG: Mapping[str, Asked] = {
    "ietf": lambda it: it.got("POST", "/", **IETF, upload_complete="?0", upload_length="6"),
    "tus": lambda it: it.got("POST", "/", **TUS, upload_length="6"),
    "content-range": lambda it: it.got("POST", "/?uploadType=resumable", x_upload_content_length="6"),
    "plain": lambda it: it.got("POST", "/", b"hello!"),
}


@pytest.mark.parametrize("dialect", TOO_LONG)
async def test_a_length_beyond_the_limit_is_refused_before_anything_is_made(
    store: FileStore, tmp_path: Path, dialect: str
) -> None:
    instance = Instance(store, limits=Limits(max_size=5))
    check_problem(await TOO_LONG[dialect](instance), 413)
    assert not list(tmp_path.glob("*/*"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("upload_length", "9" * 40),
        ("upload_length", "-1"),
        ("upload_length", "1.5"),
        ("upload_length", "five"),
        ("upload_offset", "9" * 40),
        ("upload_complete", "true"),
        ("upload_complete", "?2"),
        ("upload_draft_interop_version", "nine"),
        ("upload_draft_interop_version", "99"),
        ("content_length", "five"),
        ("content_type", "\xff\xfe"),
        ("upload_metadata", "\xff"),
        ("tus_resumable", ""),
        ("tus_resumable", "2.0.0"),
        ("upload_concat", "\xff"),
        ("upload_checksum", "sha1"),
        ("content_range", "bytes"),
        ("x_http_method_override", "\x00"),
    ],
)
@pytest.mark.parametrize("dialect", [*BEGIN, "plain"])
async def test_no_field_whatever_it_says_is_more_than_the_library_can_answer(
    instance: Instance, dialect: str, name: str, value: str
) -> None:
    path, fields = BEGIN.get(dialect, ("/", {}))
    got = await instance.got("POST", path, sent(b"hello"), **{**fields, name: value})
    assert got.status < 500
    if got.status >= 400:
        check_problem(got, got.status)
    if got.status < 300 and "location" in got.headers:
        method, below, body, fields = FINISH.get(dialect, [("HEAD", "", b"", {})])[0]
        again = await instance.got(method, f"/{got.id}{below}", body, **{**fields, name: value})
        assert again.status < 500
