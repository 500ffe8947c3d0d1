"""The bytes that client and server compare to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.kit.pattern import BLOCK, pattern

LENGTH = 4 * BLOCK
WHOLE = pattern(0, LENGTH, b"seed")


@given(offset=st.integers(0, LENGTH), length=st.integers(0, LENGTH))
def test_any_part_is_a_part_of_the_whole(offset: int, length: int) -> None:
    length = min(length, LENGTH - offset)
    assert pattern(offset, length, b"seed") == WHOLE[offset : offset + length]


def test_a_far_offset_costs_nothing() -> None:
    assert pattern(BLOCK * 10**12 + 5, 100, b"seed") == WHOLE[5:105]


def test_every_seed_has_its_own_stream() -> None:
    assert len({pattern(0, 64, seed) for seed in (b"", b"a", b"b")}) == 3


@pytest.mark.parametrize("lost", [1, 512, 4096, 65_536, 1_000_000, 1024 * 1024])
def test_a_lost_buffer_shows_in_what_follows(lost: int) -> None:
    assert pattern(0, 1000) != pattern(lost, 1000)


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1)])
def test_a_negative_offset_or_length_is_refused(offset: int, length: int) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        pattern(offset, length)
