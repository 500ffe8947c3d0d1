"""How clients can spell a control path."""

from __future__ import annotations

import re
import time

import pytest

from changeover.model.control_paths import spellings

PATTERN = re.compile(spellings(("/readyz", "/-/in.flight")))


@pytest.mark.parametrize(
    "path",
    [
        "/readyz",
        "/-/in.flight",
        "/%72eadyz",
        "/ready%7A",
        "/ready%7a",
        "/%2d/in%2Eflight",
        "//readyz",
        "/.//./readyz",
        "/%2freadyz",
        "/x/../readyz",
        "/x/%2e%2E/readyz",
        "/a/b/../../readyz",
        "/-/../-/in.flight",
    ],
)
def test_every_spelling_of_a_control_path_is_one(path: str) -> None:
    assert PATTERN.fullmatch(path)


@pytest.mark.parametrize(
    "path", ["/", "/readyzz", "/readyz/x", "/x/readyz", "/Readyz", "/-/inxflight", "/..readyz", "/x../readyz", "*", ""]
)
def test_another_path_is_none(path: str) -> None:
    assert not PATTERN.fullmatch(path)


@pytest.mark.parametrize("piece", ["/", "/.", "/..", "/x/..", "/../.", "/%2e%2e", "/readyz/..", "/../readyz"])
def test_a_long_path_is_compared_in_time(piece: str) -> None:
    """The pattern stands before every request of a client: one that is slow to compare would stop all others."""
    began = time.perf_counter()
    PATTERN.fullmatch(piece * (60_000 // len(piece)) + "!")
    assert time.perf_counter() - began < 0.5
