"""Reads systemd units and their drop-ins: sections, keys and values, each with its line.

Refuses to merge a unit with its drop-ins: which belong together is a matter of paths, and the auditor's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from changeover.conf.document import Document
from changeover.conf.place import Place, Unreadable

_SECTION = re.compile(r"\[([^\[\]]+)\]")
_SIGN = re.compile(r"^\[Service\]\s*$", re.MULTILINE)
_TEMPLATE = re.compile(r"\{\{|\{%|<%")
_TIME = re.compile(
    r"\s*(\d+(?:\.\d+)?)\s*(usec|us|msec|ms|seconds?|sec|s|minutes?|min|months?|M|m|hours?|hr|h|days?|d|weeks?|w)?"
)
_UNITS = {"u": 1e-6, "ms": 1e-3, "s": 1.0, "mi": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "mo": 2629800.0}


@dataclass(frozen=True)
class Entry:
    section: str
    key: str
    value: str
    place: Place


@dataclass(frozen=True)
class UnitFile(Document):
    entries: tuple[Entry, ...]


def recognises(text: str, file: str) -> bool:
    if _SIGN.search(text) is None:
        return False
    first = next(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("#", ";")))
    return first.lstrip().startswith("[") or _TEMPLATE.search(first) is not None  # a script holds units in heredocs


def read(text: str, file: str) -> tuple[UnitFile, ...]:
    """Raises Unreadable."""
    entries: list[Entry] = []
    section, held, start = "", "", 0
    for number, line in enumerate(text.split("\n"), 1):
        bare = line.strip()
        if bare.startswith(("#", ";")) or (not bare and not held):
            continue
        start = start if held else number
        held = f"{held} {bare}".strip()
        if held.endswith("\\"):
            held = held[:-1].rstrip() or " "
            continue
        if found := _SECTION.fullmatch(held):
            section = found[1]
        elif "=" in held and section:
            key, _, value = held.partition("=")
            if _TEMPLATE.search(held):
                raise Unreadable("the file is a template: render it first", Place(file, start))
            column = len(line) - len(line.lstrip()) + 1
            entries.append(Entry(section, key.strip(), value.strip(), Place(file, start, column)))
        elif held.strip():
            raise Unreadable("this is neither a section nor a key with a value", Place(file, start))
        held = ""
    return (UnitFile(file, tuple(entries)),)


def seconds(text: str) -> float | None:
    """A time as systemd writes it: `90`, `5min 20s`, `infinity`; None for a text that is none."""
    if text.strip() == "infinity":
        return float("inf")
    at, total = 0, 0.0
    while at < len(text.rstrip()):
        found = _TIME.match(text, at)
        if found is None:
            return None
        total += float(found[1]) * _factor(found[2] or "s")
        at = found.end()
    return total if text.strip() else None


def _factor(unit: str) -> float:
    if unit in {"M", "month", "months"}:
        return _UNITS["mo"]
    if unit in {"ms", "msec"}:
        return _UNITS["ms"]
    if unit[0] == "m":
        return _UNITS["mi"]
    return _UNITS[unit[0]]
