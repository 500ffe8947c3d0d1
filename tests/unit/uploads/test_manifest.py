"""The record of an upload: read as it was written, or refused."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.uploads.core.manifest import Manifest, Response, UploadPart, UploadState
from changeover.uploads.core.record import decode, encode
from changeover.uploads.stores.store import Segment

texts = st.text(max_size=10)
segments = st.lists(
    st.builds(Segment, st.from_regex(r"[a-z\d-]{1,8}", fullmatch=True), st.integers(0)),
    max_size=3,
).map(tuple)
fields = st.lists(st.tuples(texts, texts), max_size=3).map(tuple)
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
    state=st.sampled_from(UploadState),
    epoch=st.integers(0),
    holder=texts,
    lease_until=st.floats(0, 1e10),
    attempts=st.integers(0),
    response=st.none() | st.builds(Response, st.integers(200, 599), fields, st.binary(max_size=20)),
    concat=texts,
)


@given(manifests)
def test_a_record_is_read_as_it_was_written(manifest: Manifest) -> None:
    assert decode(encode(manifest)) == manifest


@given(
    st.binary(max_size=40) | st.recursive(st.none() | st.integers(), st.lists).map(lambda it: json.dumps(it).encode())
)
def test_what_is_no_record_is_a_value_error(record: bytes) -> None:
    with contextlib.suppress(ValueError):
        decode(record)


def test_a_record_of_another_format_is_refused() -> None:
    record = json.loads(encode(Manifest("a", "tus", 0.0, None)))
    with pytest.raises(ValueError, match="format 2; this release reads format 1"):
        decode(json.dumps({**record, "format": 2}).encode())


def test_a_segment_that_grew_takes_the_place_of_what_it_was() -> None:
    manifest = Manifest("a", "tus", 0.0, None).appended([Segment("1", 3)])
    assert manifest.appended([Segment("1", 5)]).segments == (Segment("1", 5),)
    assert manifest.appended([Segment("2", 2)]).offset == 5


def test_a_segment_never_shrinks() -> None:
    manifest = Manifest("a", "tus", 0.0, None).appended([Segment("1", 3)])
    with pytest.raises(ValueError, match="shrank from 3 to 2"):
        manifest.appended([Segment("1", 2)])
