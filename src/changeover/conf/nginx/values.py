"""Values as nginx writes them: times, sizes, addresses. Each function returns None for a text that is none."""

from __future__ import annotations

import re

_TIME = re.compile(r"(\d+)\s*(ms|s|m|h|d|w|M|y)?")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 2592000, "y": 31536000, "": 1}
_SIZE = re.compile(r"(\d+)([kKmMgG]?)")
_FACTOR = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}


def seconds(text: str) -> float | None:
    """A time: `60`, `1h 30m`, `500ms`."""
    parts = _TIME.findall(text)
    return sum(int(n) * _SECONDS[unit] for n, unit in parts) if parts and not _TIME.sub("", text).strip() else None


def size(text: str) -> int | None:
    """Bytes: `1m` is 2^20."""
    found = _SIZE.fullmatch(text)
    return int(found[1]) * _FACTOR[found[2].lower()] if found else None


def version(text: str) -> tuple[int, ...] | None:
    """`1.22.1` -> (1, 22, 1)."""
    return tuple(map(int, text.split("."))) if re.fullmatch(r"\d{1,4}(\.\d{1,4}){1,3}", text) else None
