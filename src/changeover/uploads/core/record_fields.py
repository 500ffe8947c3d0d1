"""The types of a record's fields, by their keys: a damaged record must not pass for an upload.

Refuses to interpret a field, and leaves fields alone that it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, get_args

from changeover.uploads.core.manifest import Dialect


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_texts(value: object) -> bool:
    return isinstance(value, dict) and all(_is_text(each) for each in value.values())


def _are_segments(value: object) -> bool:
    return isinstance(value, list) and all(_is_text(each["name"]) and _is_count(each["size"]) for each in value)


def _are_parts(value: object) -> bool:
    return isinstance(value, dict) and all(_are_segments(each["segments"]) for each in value.values())


def _are_lists(value: Iterable[Any]) -> bool:
    return all(_is_text(each["name"]) and _is_count(each["length"]) and _is_count(each["size"]) for each in value)


_FIELDS: Mapping[str, Callable[[Any], bool]] = MappingProxyType(
    {
        **dict.fromkeys(("id", "owner", "method", "target", "holder", "concat"), _is_text),
        "dialect": lambda value: value in get_args(Dialect),
        "created": _is_time,
        "expires": lambda value: value is None or _is_time(value),
        "headers": _are_texts,
        "metadata": _are_texts,
        "length": lambda value: value is None or _is_count(value),
        "segments": _are_segments,
        "parts": _are_parts,
        "epoch": _is_count,
        "held_until": _is_time,
        "attempts": _is_count,
    }
)


_LISTS: Mapping[str, Callable[[Any], bool]] = MappingProxyType(
    {
        "lists": lambda value: isinstance(value, list) and _are_lists(value),
        "part_lists": lambda value: isinstance(value, dict) and _are_lists(value.values()),
    }
)
"""Of format 2."""


def check(found: Mapping[str, Any]) -> None:
    """Raises KeyError if a field is missing, and TypeError if one has another type."""
    fields = {**_FIELDS, **{name: _LISTS[name] for name in _LISTS.keys() & found.keys()}}
    for name, is_right in fields.items():
        if not is_right(found[name]):
            raise TypeError(f"{name} is {found[name]!r:.80}")
