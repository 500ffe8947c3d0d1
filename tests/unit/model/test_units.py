"""Quantities as people write them, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from changeover.model.units import (
    Bytes,
    Count,
    Percent,
    Seconds,
    human_bytes,
    human_seconds,
    parse_seconds,
    resolve_count,
)

SECONDS: TypeAdapter[float] = TypeAdapter(Seconds)
BYTES: TypeAdapter[int] = TypeAdapter(Bytes)
COUNT: TypeAdapter[int | str] = TypeAdapter(Count)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("2m", 120), ("1h", 3600), ("1m30s", 90), ("1.5h", 5400), ("1h0m1s", 3601), (0, 0)],
)
def test_a_time_is_written_with_its_unit(text: object, seconds: float) -> None:
    assert SECONDS.validate_python(text) == seconds


@pytest.mark.parametrize("text", ["30", 30, 0.5, "", "s", "-5s", "5 s", "5d", "1e3s", "5s later", None, False, []])
def test_what_is_no_time_is_refused_with_an_example_of_one(text: object) -> None:
    with pytest.raises(ValidationError, match="a time with its unit is needed, such as 500ms"):
        SECONDS.validate_python(text)


@pytest.mark.parametrize("text", ["0.4ms", "0.0001s", "0.0000001h"])
def test_a_time_that_would_be_rounded_to_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="the shortest time is 1ms"):
        SECONDS.validate_python(text)
    assert SECONDS.validate_python("1ms") == 0.001
    assert SECONDS.validate_python("0ms") == 0


@given(st.integers(0, 10**9))
def test_whole_milliseconds_are_read_back_as_they_were_written(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_seconds(human_seconds(seconds)) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (0.25, "250ms"), (1, "1s"), (90, "1m30s"), (7200, "2h")])
def test_times_are_shown_as_short_as_they_can_be(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text


def test_a_time_in_json_is_written_as_in_a_chain_file() -> None:
    assert SECONDS.dump_python(90.0, mode="json") == "1m30s"


@pytest.mark.parametrize(
    ("text", "size"), [("50MB", 50_000_000), ("1GiB", 2**30), ("1kB", 1000), (0, 0), (17, 17), ("1.5MB", 1_500_000)]
)
def test_a_size_is_decimal_unless_it_says_binary(text: object, size: int) -> None:
    assert BYTES.validate_python(text) == size


@pytest.mark.parametrize("text", ["5XB", "many", None, -1])
def test_what_is_no_size_is_refused_with_an_example_of_one(text: object) -> None:
    with pytest.raises(ValidationError, match="a size is needed, such as 50MB, 1GiB or a whole number of bytes"):
        BYTES.validate_python(text)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (12_345_678, "12.3 MB"), (50e9, "50.0 GB"), (2.5e13, "25.0 TB")]
)
def test_sizes_are_shown_in_powers_of_ten(size: float, text: str) -> None:
    assert human_bytes(size) == text


@pytest.mark.parametrize("value", [0, 1, 10, "0%", "25%", "150%"])
def test_a_count_is_a_number_of_instances_or_a_share(value: object) -> None:
    assert COUNT.validate_python(value) == value


@pytest.mark.parametrize("value", [-1, "-1%", "25", 0.5, "25.5%", "%", True, None])
def test_what_is_no_count_is_refused_with_an_example_of_one(value: object) -> None:
    with pytest.raises(ValidationError, match="a whole number of instances or a percentage is needed"):
        COUNT.validate_python(value)


@given(percent=st.integers(0, 100), size=st.integers(1, 1000))
def test_shares_are_rounded_as_kubernetes_does_surge_up_and_unavailable_down(percent: int, size: int) -> None:
    up, down = (resolve_count(f"{percent}%", size, up=up) for up in (True, False))
    assert down * 100 <= percent * size <= up * 100
    assert up - down == (percent * size % 100 != 0)


@given(count=st.integers(0, 100), size=st.integers(1, 1000), up=st.booleans())
def test_a_number_of_instances_is_taken_as_it_is(count: int, size: int, up: bool) -> None:
    assert resolve_count(count, size, up=up) == count


PERCENT: TypeAdapter[int] = TypeAdapter(Percent)


@pytest.mark.parametrize(("text", "number"), [("0%", 0), ("50%", 50), ("100%", 100), (0, 0)])
def test_a_percentage_is_written_with_its_sign(text: str | int, number: int) -> None:
    assert PERCENT.validate_python(text) == number
    assert PERCENT.dump_python(number, mode="json") == f"{number}%"


@pytest.mark.parametrize("text", ["101%", "1.5%", "-1%", "50", 50, True, "%"])
def test_a_number_without_its_sign_is_no_percentage(text: str | int) -> None:
    with pytest.raises(ValidationError, match="a percentage is needed"):
        PERCENT.validate_python(text)
