"""Fields of the IETF draft: whatever comes, nothing but Malformed is raised, and what is spelt is read the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.uploads.protocols import ietf
from changeover.uploads.protocols.errors import MalformedField

texts = st.text(st.characters(max_codepoint=255), max_size=30) | st.from_regex(r"[?\d\-\. ,;=\"a-z]*", fullmatch=True)
names = st.sampled_from(
    ["upload-complete", "upload-incomplete", "upload-offset", "upload-length", "upload-draft-interop-version"]
)
interops = st.sampled_from(list(ietf.INTEROPS.values()))


@given(st.dictionaries(names, texts))
def test_whatever_comes_is_read_or_malformed(headers: dict[str, str]) -> None:
    try:
        fields = ietf.read(headers)
    except MalformedField:
        return
    assert fields.offset is None or fields.offset >= 0
    assert fields.length is None or fields.length >= 0
    assert fields.complete in (None, True, False)


@given(interops, st.booleans())
def test_completeness_is_read_as_it_is_spelt(interop: ietf.Interop, complete: bool) -> None:
    name, value = ietf.complete(interop, complete)
    headers = {name.lower(): value, "upload-draft-interop-version": str(interop.version)}
    assert ietf.read(headers).complete is complete


@given(interops, st.integers(0, 10**15 - 1), st.integers(0, 10**15 - 1))
def test_numbers_are_read_as_they_are_spelt(interop: ietf.Interop, offset: int, length: int) -> None:
    version = str(interop.version)
    headers = {"upload-offset": str(offset), "upload-length": str(length), "upload-draft-interop-version": version}
    fields = ietf.read(headers)
    assert (fields.interop, fields.offset) == (interop, offset)
    assert fields.length == (length if interop.limited else None)


@pytest.mark.parametrize("version", [0, 1, 2, 4, 7, 10])
def test_a_version_that_is_not_spoken_is_malformed(version: int) -> None:
    with pytest.raises(MalformedField, match=f"{version} is not supported"):
        ietf.read({"upload-draft-interop-version": str(version)})


def test_an_older_draft_is_not_spoken_in_the_fields_of_a_newer_one() -> None:
    assert ietf.read({"upload-complete": "?1", "upload-draft-interop-version": "3"}).complete is None


@given(st.dictionaries(st.sampled_from(["max-size", "max-age", "expires"]), st.integers(0, 10**15 - 1)))
def test_limits_are_a_dictionary(limits: dict[str, int]) -> None:
    name, value = ietf.limit(limits)
    assert name == "Upload-Limit"
    found = {key: int(number) for key, _, number in (member.partition("=") for member in value.split(", "))}
    assert found == (limits or {"min-size": 0})


def test_a_request_without_any_field_does_not_speak_it() -> None:
    assert not ietf.is_spoken({"content-length": "5", "upload-length": "5"})
    assert ietf.is_spoken({"upload-incomplete": "?0"})


@given(st.dictionaries(names, texts))
def test_whatever_an_answer_says_is_an_offset_or_nothing(headers: dict[str, str]) -> None:
    fields = ietf.read_response(headers)
    assert fields.offset is None or fields.offset >= 0
    assert fields.complete in (None, True, False)


@pytest.mark.parametrize(
    ("complete", "offset", "fields"),
    [
        ("?1", "100", ietf.ResponseFields(True, 100)),
        ("?0", "0", ietf.ResponseFields(False, 0)),
        ("?1;a=b", " 5 ", ietf.ResponseFields(True, 5)),
        ("1", "?1", ietf.ResponseFields(None, None)),
        ("?0, ?0", "5, 5", ietf.ResponseFields(None, None)),
        ("true", "-1", ietf.ResponseFields(None, None)),
        ("", "5.0", ietf.ResponseFields(None, None)),
        ("?2", "1" * 16, ietf.ResponseFields(None, None)),
    ],
)
def test_an_answer_is_read_by_its_types_and_what_is_not_of_them_is_nothing(
    complete: str, offset: str, fields: ietf.ResponseFields
) -> None:  # RFC 9651, section 3.3
    assert ietf.read_response({"upload-complete": complete, "upload-offset": offset}) == fields
