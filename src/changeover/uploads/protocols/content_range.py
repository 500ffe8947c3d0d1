"""`Content-Range` of a request (RFC 9110, section 14.4), as Google Cloud Storage's resumable uploads use it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from changeover.uploads.protocols.errors import MalformedField

_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(?:(\d{1,18})|\*)")


@dataclass(frozen=True)
class ContentRange:
    """Bytes `first` to `last`, both included, of `length` in all. None: not stated. Without `first` it asks for the
    offset."""

    first: int | None
    last: int | None
    length: int | None

    @property
    def size(self) -> int:
        """Bytes in the range."""
        return 0 if self.first is None or self.last is None else self.last - self.first + 1


def read(text: str) -> ContentRange:
    """`bytes 0-99/200`, `bytes 0-99/*`, `bytes */200`, `bytes */*`. Raises MalformedField."""
    found = _RANGE.fullmatch(text.strip()) if text.isascii() else None
    if found is None:
        raise MalformedField(f"Content-Range must be `bytes FIRST-LAST/LENGTH`, not {text!r}")
    first, last, length = (None if group is None else int(group) for group in found.groups())
    if first is not None and last is not None and (last < first or (length is not None and last >= length)):
        raise MalformedField(f"Content-Range {text!r} contradicts itself")
    return ContentRange(first, last, length)
