"""Sizes are checked against the limits; an unknown size, or no limit, passes."""

from __future__ import annotations

import pytest

from changeover.uploads import Limits, TooLarge


@pytest.mark.parametrize("size", [None, 0, 10])
def test_a_size_within_the_limit_passes(size: int | None) -> None:
    Limits(max_size=10).check_size(size)
    Limits(max_append=10).check_request(size)


def test_without_a_limit_every_size_passes() -> None:
    Limits().check_request(1 << 60)


def test_an_upload_beyond_the_limit_is_too_large() -> None:
    with pytest.raises(TooLarge, match="an upload of 11 bytes exceeds the limit of 10 bytes") as caught:
        Limits(max_size=10).check_size(11)
    assert caught.value.limit == 10


def test_a_request_is_checked_against_both_limits() -> None:
    with pytest.raises(TooLarge, match="a request of 6 bytes"):
        Limits(max_size=10, max_append=5).check_request(6)
    with pytest.raises(TooLarge, match="an upload of 6 bytes"):
        Limits(max_size=5, max_append=10).check_request(6)


def test_the_limit_of_requests_is_none_of_uploads() -> None:
    Limits(max_append=5).check_size(6)
