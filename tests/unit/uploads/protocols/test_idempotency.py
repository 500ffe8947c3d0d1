"""`Idempotency-Key` as clients spell it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.uploads.protocols import idempotency
from changeover.uploads.protocols.errors import MalformedField


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('"8e03978e-40d5-43e8-bc93-6894a57f9324"', "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        ("8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        (' "a b" ', "a b"),
        (r'"a\"b\\"', 'a"b\\'),
        ("x" * 255, "x" * 255),
    ],
)
def test_a_key_is_a_string_or_bare(text: str, key: str) -> None:
    assert idempotency.read(text) == key


@pytest.mark.parametrize(
    "text", ["", '""', '"', '"a', 'a"', "a b", "a, a", '"a", "a"', "x" * 256, '"\x00"', "\xff", '"\\a"', "a;b"]
)
def test_what_cannot_be_compared_is_refused(text: str) -> None:
    with pytest.raises(MalformedField):
        idempotency.read(text)


@given(st.text(max_size=300))
def test_every_text_is_a_key_or_refused(text: str) -> None:
    with contextlib.suppress(MalformedField):
        assert 0 < len(idempotency.read(text)) <= 255
