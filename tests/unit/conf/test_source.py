"""Bytes that are no text of a known encoding are refused."""

from __future__ import annotations

import pytest

from changeover.conf.place import Unreadable
from changeover.conf.source import LARGEST, decode


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ("events {}".encode("utf-16"), "UTF-16"),
        ('{"a": 1}'.encode("utf-16-le"), "UTF-16"),
        (b"a;\nb\0c;", "a:2: the file contains a NUL byte"),
        (b"a;\n\xff;", "a:2: the file is not valid UTF-8"),
        (b"#" * (LARGEST + 1), "larger than 2 MB"),
    ],
)
def test_other_encodings_and_large_files_are_refused(data: bytes, what: str) -> None:
    with pytest.raises(Unreadable, match=what):
        decode(data, "a")


def test_a_byte_order_mark_of_utf_8_is_no_text() -> None:
    assert decode(b"\xef\xbb\xbfevents {}", "a") == "events {}"
