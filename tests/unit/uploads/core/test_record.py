"""The record of an upload: read as it was written, or refused."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.uploads.serving import Instance, content

from changeover.uploads import FileStore, Limits
from changeover.uploads.core.manifest import Manifest, Response, StoredList, UploadPart, UploadState
from changeover.uploads.core.record import DamagedRecord, decode, encode
from changeover.uploads.stores.store import Segment

texts = st.text(max_size=10)
segments = st.lists(
    st.builds(Segment, st.from_regex(r"[a-z\d-]{1,8}", fullmatch=True), st.integers(0)),
    max_size=3,
).map(tuple)
lists = st.builds(
    StoredList, st.builds(Segment, st.from_regex(r"[a-z\d.]{1,8}", fullmatch=True), st.integers(0)), st.integers(0)
)
fields = st.lists(
    st.tuples(st.from_regex(r"X-[a-z]{1,8}", fullmatch=True), st.from_regex(r"[a-z]{0,8}", fullmatch=True)), max_size=3
).map(tuple)
manifests = st.builds(
    Manifest,
    id=texts,
    dialect=st.sampled_from(["ietf", "tus", "parts", "content-range", "plain"]),
    created=st.floats(0, 1e10),
    expires=st.none() | st.floats(0, 1e10),
    owner=texts,
    headers=st.dictionaries(texts, texts, max_size=3),
    metadata=st.dictionaries(texts, texts, max_size=3),
    length=st.none() | st.integers(0),
    segments=segments,
    parts=st.dictionaries(st.integers(1, 10_000), st.builds(UploadPart, segments), max_size=3),
    lists=st.lists(lists, max_size=3).map(tuple),
    part_lists=st.dictionaries(st.integers(0, 100), lists, max_size=3),
    state=st.sampled_from(UploadState),
    epoch=st.integers(0),
    holder=texts,
    lease_until=st.floats(0, 1e10),
    attempts=st.integers(0),
    response=st.none() | st.builds(Response, st.sampled_from([200, 299, 404, 599]), fields, st.binary(max_size=20)),
    concat=texts,
    capability=texts,
).filter(lambda it: it.state is not UploadState.DONE or it.response is not None)


@given(manifests)
def test_a_record_is_read_as_it_was_written(manifest: Manifest) -> None:
    assert decode(encode(manifest)) == manifest.settled()


@given(
    st.binary(max_size=40) | st.recursive(st.none() | st.integers(), st.lists).map(lambda it: json.dumps(it).encode())
)
def test_what_is_no_record_is_a_value_error(record: bytes) -> None:
    with contextlib.suppress(ValueError):
        decode(record)


def test_a_record_of_another_format_is_refused() -> None:
    record = json.loads(encode(Manifest("a", "tus", 0.0, None)))
    with pytest.raises(ValueError, match="format 3; this release reads formats 1 and 2"):
        decode(json.dumps({**record, "format": 3}).encode())


STORED = Path(__file__).with_name("stored_format_1")
"""Uploads that the first release with format 1 left in a folder, in every dialect and state, at `NOW`."""
NOW = 1_000_000_000.0
NAMES: dict[str, str] = json.loads((STORED / "names.json").read_text())


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    """An instance of this release over that folder."""
    shutil.copytree(STORED, tmp_path / "uploads")
    store = FileStore(tmp_path / "uploads", durable=False)
    return Instance(store, authorise=lambda _: "ann", limits=Limits(max_unfinished=9), now=lambda: NOW + 60)


RESUMED: dict[str, tuple[str, dict[str, str], int]] = {
    "ietf": (
        "PATCH",
        {"upload_offset": "3", "upload_complete": "?1", "content_type": "application/partial-upload"},
        200,
    ),
    "tus": (
        "PATCH",
        {"tus_resumable": "1.0.0", "upload_offset": "3", "content_type": "application/offset+octet-stream"},
        204,
    ),
    "content-range": ("PUT", {"content_range": "bytes 3-4/5"}, 200),
}


@pytest.mark.parametrize("dialect", RESUMED)
async def test_an_upload_of_the_release_before_continues(instance: Instance, dialect: str) -> None:
    method, headers, status = RESUMED[dialect]
    assert (await instance.got(method, f"/{NAMES[dialect]}", b"lo", **headers)).status == status
    assert await content(instance, NAMES[dialect]) == b"hello"
    [upload] = instance.finished
    assert (upload.owner, upload.target) == ("ann", "/files/")
    assert upload.headers == ({"content-type": "image/png"} if dialect == "ietf" else {})
    assert upload.metadata == ({"filename": "a.txt"} if dialect == "tus" else {})


async def test_an_upload_in_parts_of_the_release_before_is_completed(instance: Instance) -> None:
    id = NAMES["parts"]
    assert (await instance.got("PUT", f"/{id}/parts/2", b"lo")).status == 200
    assert (await instance.got("POST", f"/{id}/complete")).status == 200
    assert await content(instance, id) == b"hello"


async def test_the_response_of_the_release_before_is_replayed(instance: Instance) -> None:
    headers = {"upload_offset": "5", "upload_complete": "?1", "content_type": "application/partial-upload"}
    got = await instance.got("PATCH", f"/{NAMES['done']}", b"", **headers)
    assert (got.status, got.headers["x-size"], got.body) == (201, "5", b"thanks")
    assert not instance.finished


async def test_a_handler_that_failed_under_the_release_before_is_called_again(instance: Instance) -> None:
    await instance.engine.collector.collect()
    assert [(upload.id, upload.attempt) for upload in instance.finished] == [(NAMES["complete"], 2)]
    assert await content(instance, NAMES["complete"]) == b"hello"


async def test_a_partial_upload_of_the_release_before_is_concatenated(instance: Instance) -> None:
    concat = f"final;/files/{NAMES['partial']}"
    got = await instance.got("POST", "/", tus_resumable="1.0.0", upload_concat=concat)
    assert got.status == 201
    assert await content(instance, got.id) == b"hello"


async def test_the_quota_of_the_release_before_counts(instance: Instance) -> None:
    got = [(await instance.got("POST", "/", upload_complete="?0")).status for _ in range(6)]
    assert got == [201] * 5 + [429]


async def test_a_record_keeps_its_keys(instance: Instance) -> None:
    """The release before reads what this one writes: instances of both share a store during a rollout."""
    for id in set(NAMES.values()):
        stored, _ = await instance.engine.store.read(id)
        assert json.loads(encode(decode(stored))) == json.loads(stored)


@pytest.mark.parametrize("key", ["state", "answer", "held_until", "segments", "id"])
def test_a_record_without_one_of_its_keys_is_refused(key: str) -> None:
    record = json.loads(encode(Manifest("a", "tus", 0.0, None)))
    del record[key]
    with pytest.raises(ValueError, match="not a record of an upload"):
        decode(json.dumps(record).encode())


def test_fields_of_a_newer_release_are_kept() -> None:
    stored = {**json.loads(encode(Manifest("a", "tus", 0.0, None, length=5))), "colour": {"deep": [1, None]}}
    manifest = decode(json.dumps(stored).encode()).taken_by("one")
    assert json.loads(encode(manifest)) == {**stored, "epoch": 1, "holder": "one"}


WRONG = {
    "id": 5,
    "dialect": "gopher",
    "created": "now",
    "expires": True,
    "owner": None,
    "method": [],
    "headers": {"content-type": 5},
    "metadata": "name",
    "length": -1,
    "segments": {"name": "1"},
    "parts": {"one": {"segments": []}},
    "state": "unsure",
    "epoch": 1.5,
    "holder": {},
    "held_until": None,
    "attempts": "1",
    "format": "1",
}


@pytest.mark.parametrize("key", WRONG)
def test_a_record_with_a_field_of_another_type_is_damaged(key: str) -> None:
    stored = {**json.loads(encode(Manifest("a", "tus", 0.0, None))), key: WRONG[key]}
    with pytest.raises(DamagedRecord):
        decode(json.dumps(stored).encode())


def test_the_place_of_a_forms_file_is_stored_where_an_older_release_keeps_it() -> None:
    manifest = Manifest("a" * 32, "plain", 1.0, None, headers={"content-type": "image/png"}, file=(326, 340))
    assert decode(encode(manifest)) == manifest
    assert set(json.loads(encode(manifest))) == set(json.loads(encode(replace(manifest, file=None))))
