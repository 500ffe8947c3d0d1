from __future__ import annotations

from collections.abc import Callable

import pytest
import typer

from changeover.cli.options.values import address, count, seconds, size


def test_a_value_is_read_with_its_unit() -> None:
    assert (size("50MB"), size("4096")) == (50_000_000, 4096)
    assert (seconds("500ms"), seconds("2m")) == (0.5, 120.0)
    assert (count("3"), count("25%")) == (3, "25%")


def test_a_default_is_passed_through() -> None:
    assert size(50_000_000.0) == 50_000_000.0


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (seconds, "10", "a time with its unit"),
        (size, "much", "a size is needed, such as 50MB"),
        (count, "some", "a percentage"),
    ],
)
def test_a_value_that_cannot_be_read_is_refused_with_the_reason(
    parse: Callable[[str], object], text: str, message: str
) -> None:
    with pytest.raises(typer.BadParameter, match=message):
        parse(text)


@pytest.mark.parametrize("text", ["9100", ":9100", "localhost", "localhost:", "localhost:65536", "localhost:x"])
def test_an_address_has_a_host_and_a_port(text: str) -> None:
    assert address("localhost:9100") == ("localhost", 9100)
    assert address("[::1]:9100") == ("::1", 9100)
    with pytest.raises(typer.BadParameter, match="is no HOST:PORT"):
        address(text)
