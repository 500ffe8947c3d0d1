"""One setting as it takes effect: its value, where it stands, and whether it is a default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from changeover.conf.place import Place

Value = TypeVar("Value")


@dataclass(frozen=True)
class Setting(Generic[Value]):
    """`value` is None where it is unknown; then `missing` says what would have to be given."""

    value: Value | None
    place: Place
    text: str
    """As the report quotes it: `keepalive_timeout 65s`, or `keepalive_timeout is not set, so it is 75s`."""
    missing: str = ""


def unknown(place: Place, text: str, missing: str) -> Setting[Value]:
    """A setting that the given files leave open."""
    return Setting(None, place, text, missing)
