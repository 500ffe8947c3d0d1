"""Bytes, seconds and shares, as people write them in a chain file: `50MB`, `1GiB`, `30s`, `5m`, `25%`.

Sizes are pydantic's ByteSize (MB = 10^6, MiB = 2^20). A duration always carries its unit: a bare `30` has started
too many arguments about seconds and milliseconds to be accepted.
"""

from __future__ import annotations

import re
from math import ceil, floor
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    ByteSize,
    Field,
    PlainSerializer,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)

from changeover.kit.human import human_bytes, human_seconds

__all__ = ["Bytes", "Count", "Percent", "Seconds", "human_bytes", "human_seconds", "resolve_count"]

SHORTEST = 0.001
"""Seconds. A shorter time would be rounded to 0, which many servers take for `no limit`."""
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


def parse_seconds(value: Any) -> Any:
    """`1m30s` -> 90.0. A number passes only if it is 0, which needs no unit."""
    if value == 0 and not isinstance(value, bool):
        return 0.0
    if isinstance(value, str) and _DURATION.fullmatch(value.strip()):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value))
        if 0 < seconds < SHORTEST:
            raise ValueError("the shortest time is 1ms: the configurations of servers hold whole milliseconds")
        return seconds
    raise ValueError("a time with its unit is needed, such as 500ms, 30s, 2m or 1h")


Seconds = Annotated[
    float,
    BeforeValidator(parse_seconds),
    PlainSerializer(human_seconds, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": rf"^{_DURATION.pattern}$", "examples": ["500ms", "30s", "2m"]}),
]
"""A length of time, in seconds; written with its unit."""


def _parse_size(value: Any, parse: ValidatorFunctionWrapHandler) -> Any:
    try:
        return parse(value)
    except ValidationError as error:
        raise ValueError("a size is needed, such as 50MB, 1GiB or a whole number of bytes") from error


Bytes = Annotated[
    ByteSize,
    WrapValidator(_parse_size),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}], "examples": ["50MB", "1GiB", 0]}),
]
"""A size in bytes; `MB` is 10^6, `MiB` is 2^20."""


def _parse_percent(value: Any) -> Any:
    if value == 0 and not isinstance(value, bool):
        return 0
    if isinstance(value, str) and re.fullmatch(r"\d+%", value) and int(value[:-1]) <= 100:
        return int(value[:-1])
    raise ValueError("a percentage is needed, such as 50%")


Percent = Annotated[
    int,
    BeforeValidator(_parse_percent),
    PlainSerializer(lambda value: f"{value}%", return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^(\d|[1-9]\d|100)%$", "examples": ["0%", "50%"]}),
]
"""A share from 0 to 100 percent; written with its sign."""


def _parse_count(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"\d+%", value):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError("a whole number of instances or a percentage is needed, such as 1 or 25%")


Count = Annotated[
    int | str,
    BeforeValidator(_parse_count),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\d+%$"}]}),
    Field(),
]
"""A number of instances, absolute or as a share of the tier's size."""


def resolve_count(count: int | str, size: int, *, up: bool) -> int:
    """Turn a Count into instances, rounding as Kubernetes does: surge up, unavailable down."""
    if isinstance(count, int):
        return count
    exact = size * int(count.rstrip("%")) / 100
    return ceil(exact) if up else floor(exact)
