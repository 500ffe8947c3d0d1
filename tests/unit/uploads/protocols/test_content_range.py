"""Content-Range of requests: whatever comes, nothing but Malformed is raised, and what is spelt is read the same."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from changeover.uploads.protocols import content_range
from changeover.uploads.protocols.content_range import ContentRange
from changeover.uploads.protocols.errors import MalformedField

sizes = st.integers(0, 10**18 - 1)


@given(st.text(max_size=30) | st.from_regex(r"bytes [\d*-]{0,9}/[\d*]{0,9}", fullmatch=True))
def test_whatever_comes_is_read_or_malformed(text: str) -> None:
    try:
        found = content_range.read(text)
    except MalformedField:
        return
    assert (found.first is None) == (found.last is None)
    assert found.size >= 0
    assert found.length is None or found.last is None or found.last < found.length


@given(sizes, sizes, st.none() | sizes)
def test_a_range_is_read_as_it_is_spelt(first: int, last: int, length: int | None) -> None:
    assume(first <= last and (length is None or last < length))
    found = content_range.read(f"bytes {first}-{last}/{'*' if length is None else length}")
    assert found == ContentRange(first, last, length)
    assert found.size == last - first + 1


@given(st.none() | sizes)
def test_a_question_is_read_as_it_is_spelt(length: int | None) -> None:
    found = content_range.read(f"bytes */{'*' if length is None else length}")
    assert (found, found.size) == (ContentRange(None, None, length), 0)


@pytest.mark.parametrize("text", ["", "bytes", "items 0-1/2", "bytes 0-1", "bytes 2-1/5", "bytes 0-5/5", "bytes ٣-٤/*"])
def test_what_is_no_range_is_malformed(text: str) -> None:
    with pytest.raises(MalformedField):
        content_range.read(text)
