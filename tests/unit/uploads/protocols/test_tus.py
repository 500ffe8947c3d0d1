"""Fields of tus: whatever comes, nothing but Malformed is raised, and what is spelt is read the same."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.uploads.protocols import tus
from changeover.uploads.protocols.errors import MalformedField

texts = st.text(st.characters(max_codepoint=255), max_size=40) | st.from_regex(r"[a-z\d;, =+/]*", fullmatch=True)
keys = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=","), min_size=1, max_size=10)
values = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(texts)
def test_whatever_comes_is_read_or_malformed(text: str) -> None:
    with contextlib.suppress(MalformedField):
        tus.metadata(text)
    with contextlib.suppress(MalformedField):
        tus.checksum(text)
    with contextlib.suppress(MalformedField):
        tus.concat(text)
    with contextlib.suppress(MalformedField):
        assert tus.number({"upload-length": text}, "upload-length") in range(10**18)


@given(st.dictionaries(keys, values, min_size=1))
def test_metadata_is_read_as_it_is_spelt(metadata: dict[str, str]) -> None:
    assert tus.metadata(tus.spell_metadata(metadata)) == metadata


@given(st.sampled_from(tus.CHECKSUMS), st.binary(max_size=40))
def test_a_checksum_is_read_as_it_is_spelt(algorithm: str, digest: bytes) -> None:
    assert tus.checksum(f"{algorithm} {base64.b64encode(digest).decode()}") == tus.Checksum(algorithm, digest)


@given(st.lists(st.from_regex(r"/[a-z\d/_-]+", fullmatch=True), min_size=1))
def test_a_concatenation_is_read_as_it_is_spelt(urls: list[str]) -> None:
    assert tus.concat("final;" + " ".join(urls)) == tus.Concat("final", tuple(urls))


@given(st.integers(0, 10**18 - 1))
def test_a_number_is_read_as_it_is_spelt(number: int) -> None:
    assert tus.number({"upload-offset": str(number)}, "upload-offset") == number


def test_a_missing_number_is_none() -> None:
    assert tus.number({}, "upload-offset") is None


@pytest.mark.parametrize("text", ["", "-1", "+1", " 1", "1_0", "0x1", "1" * 19, "²"])
def test_what_is_no_number_is_malformed(text: str) -> None:
    with pytest.raises(MalformedField, match="upload-offset"):
        tus.number({"upload-offset": text}, "upload-offset")
