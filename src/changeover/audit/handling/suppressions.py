"""`# changeover: ignore NGX07 -- reason`: findings that the operator accepts, each with a reason.

A comment at the end of a line is about that line; one on a line of its own is about the next line that is no comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from changeover.conf.place import Place

_COMMENT = re.compile(
    r"(?:#|;|//)\s*changeover:\s*ignore\s+(?P<ids>[A-Z0-9]+(?:[\s,]+[A-Z0-9]+)*)(?:\s+--\s*(?P<why>.*))?"
)
_NO_CODE = re.compile(r"\s*(?:#|;|//|$)")


@dataclass(frozen=True)
class Suppression:
    """`line` is the one that it is about; `place` is the comment's own."""

    place: Place
    line: int
    rules: tuple[str, ...]
    reason: str


def suppressions(text: str, file: str) -> Iterator[Suppression]:
    """Every such comment of a text; `reason` is empty where it has none."""
    if "changeover:" not in text:
        return
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if (found := _COMMENT.search(line)) is None:
            continue
        about = number
        if not line[: found.start()].strip():
            about = next((n for n in range(number + 1, len(lines) + 1) if not _NO_CODE.match(lines[n - 1])), number)
        ids = tuple(re.split(r"[\s,]+", found["ids"]))
        yield Suppression(Place(file, number, found.start() + 1), about, ids, (found["why"] or "").strip())
