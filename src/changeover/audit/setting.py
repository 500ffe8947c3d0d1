"""One setting as it takes effect: its value, where it stands, and whether it is a default."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from changeover.conf.place import Place

Value = TypeVar("Value")


_LITERAL = re.compile(r"([\w.-]+)(?:\s*[=:]\s*|\s+)[\"']?([\w.:/-]+)[\"']?")


@dataclass(frozen=True, slots=True)
class Replacement:
    """One literal value of one key, and what takes its place."""

    key: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Setting(Generic[Value]):
    """`value` is None where it is unknown; then `missing` says what would have to be given."""

    value: Value | None
    place: Place
    text: str
    """As the report quotes it: `keepalive_timeout 65s`, or `keepalive_timeout is not set, so it is 75s`."""
    missing: str = ""

    def replaced(self, new: str) -> Replacement | None:
        """With another value; None where no literal is given, as of a default."""
        found = _LITERAL.fullmatch(self.text)
        return Replacement(found[1], found[2], new) if found is not None else None

    def replaced_by(self, seconds: float) -> Replacement | None:
        """With another time: a plain number stays one, a time with a unit becomes one in seconds."""
        found = self.replaced(f"{seconds:.0f}")
        return replace(found, new=f"{found.new}s") if found is not None and not found.old.isdigit() else found


def shorter(one: Setting[float] | None, other: Setting[float]) -> Setting[float]:
    """The shorter of two times; one that is unknown may be the shortest."""
    if one is None or (one.value is not None and (other.value is None or other.value < one.value)):
        return other
    return one


def unknown(place: Place, text: str, missing: str) -> Setting[Value]:
    """A setting that the given files leave open."""
    return Setting(None, place, text, missing)
