"""Where a value stands in a file, and the one error that a reader raises."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True, slots=True)
class Place:
    """Line and column count from 1; line 0 is the file as a whole."""

    file: str
    line: int = 0
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class Unreadable(Exception):
    """The text cannot be read as what it is: broken, templated, too large, or no text at all."""

    def __init__(self, what: str, place: Place) -> None:
        super().__init__(f"{place}: {what}")
        self.what = what
        self.place = place
