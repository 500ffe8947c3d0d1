"""Edits of nginx configuration that move no line, and the placeholders in it. The grammar is conf's."""

from __future__ import annotations

import re
from collections.abc import Callable

PLACEHOLDER = re.compile(r"CHANGEOVER_[A-Z0-9_]+")
_PLAIN = re.compile(r"[A-Za-z0-9_./:,@+-]*")


def filled(raw: str, value: Callable[[str], str]) -> str:
    """A word as it stands in a file, with the value of each placeholder; in quotes where a value needs them."""
    quote = raw[0] if raw[0] in "\"'" else ""
    values = [value(name) for name in PLACEHOLDER.findall(raw)]
    around = "" if quote or all(map(_PLAIN.fullmatch, values)) else '"'
    escaped = iter(one.replace("\\", "\\\\").replace(q, f"\\{q}") if (q := quote or around) else one for one in values)
    return around + PLACEHOLDER.sub(lambda _: next(escaped), raw) + around


def edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    """The text with each span (start, end) replaced. Spans do not overlap; those at the same place keep their order."""
    parts, at = [], 0
    for start, end, new in sorted(edits, key=lambda edit: edit[:2]):
        parts += [text[at:start], new]
        at = end
    return "".join([*parts, text[at:]])
