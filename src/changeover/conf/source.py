"""Bytes of a file -> text. Refuses what no reader may guess about: other encodings, NUL, files that are too large."""

from __future__ import annotations

import codecs

from changeover.conf.place import Place, Unreadable

LARGEST = 2_000_000
"""Bytes. A reader's tree takes up to 80 times the text, and the auditor promises to stay below 300 MB."""
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decode(data: bytes, file: str) -> str:
    """The text, in UTF-8. Raises Unreadable."""
    if len(data) > LARGEST:
        raise too_large(file)
    if data.startswith(_UTF16) or (len(data) > 3 and 0 in data[:2] and data[0] != data[1]):
        raise Unreadable("the file is UTF-16; convert it to UTF-8", Place(file, 1))
    if (place := data.find(b"\0")) >= 0:
        raise Unreadable("the file contains a NUL byte: it is no text", Place(file, data.count(b"\n", 0, place) + 1))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Unreadable("the file is not valid UTF-8", Place(file, line)) from error


def too_large(file: str) -> Unreadable:
    return Unreadable(f"the file is larger than {LARGEST // 1_000_000} MB", Place(file))
