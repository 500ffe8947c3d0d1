"""What an agent answered, read from its bytes. Pure.

Refuses every value of another type than docs/agent.md gives it: a count that is read wrongly would end a drain early,
and an agent may be another program by now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import inf, isfinite
from typing import Any

from changeover.kit.human import human_bytes
from changeover.model.connections import Connection, Connections
from changeover.model.instance import InFlight, Upload
from changeover.ports import Unknown

FORMAT = 1
"""Of the status, the newest that this version reads."""
MOST_BYTES = 16_000_000
"""Of an answer. A status with 100,000 connections has six million."""

_TEXT = (str, type(None))
_TYPES: Mapping[str, tuple[type, ...]] = {
    "name": _TEXT,
    "kind": _TEXT,
    "ready": (bool,),
    "lame_duck": (bool,),
    "reason": _TEXT,
    "unknown": _TEXT,
    "metadata": _TEXT,
    "time": (int, float),
    "in_flight": (dict, type(None)),
    "witnesses": (dict, type(None)),
    "members": (dict, type(None)),
    "error": _TEXT,
}


def document(content: bytes) -> Mapping[str, Any]:
    """The JSON object. Raises ValueError with what is wrong with it."""
    if len(content) > MOST_BYTES:
        raise ValueError(f"more than {human_bytes(MOST_BYTES)}")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("no JSON") from None
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    for key, types in _TYPES.items():
        if key in found and not _is(found[key], types):
            raise ValueError(f"another form of `{key}`: {_shown(found[key])}")
    version = found.get("format", FORMAT)
    if not _is(version, (int,)):
        raise ValueError(f"another form of `format`: {_shown(version)}")
    return found


def in_flight_of(name: str, status: Mapping[str, Any]) -> InFlight | None:
    """What the agent counted; None where nothing counts it. Raises Unknown."""
    if (why := status.get("unknown")) is not None:
        raise Unknown(f"the agent of {name}: {why}")
    try:
        if (found := status["in_flight"]) is None:
            return None
        uploads = tuple(
            Upload(_count(one["received"]), _or_none(one["expected"], _count), _seconds(one["seconds"]))
            for one in found.get("uploads", ())
        )
        return InFlight(_or_none(found["requests"], _count), _count(found["connections"]), uploads)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unknown(f"the agent of {name} answered with another form of what is in flight: {error!r}") from error


def connections_of(status: Mapping[str, Any]) -> Connections | None:
    """The connections that the kernel of the VM shows; None where it shows none, or the form is another one."""
    try:
        if (found := (status.get("witnesses") or {}).get("kernel")) is None:
            return None
        routed = tuple(
            Connection(
                _seconds(one["quiet"]),
                _or_none(one["answered"], _flag),
                inf if one["age"] is None else _seconds(one["age"]),
            )
            for one in found["connections"]
        )
        others = {str(process): _count(held) for process, held in dict(found["others"]).items()}
        return Connections(routed, others, _count(found["waiting"]), _flag(found["one_process"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _is(value: object, types: tuple[type, ...]) -> bool:
    """JSON has booleans that are no numbers, and numbers that are no numbers."""
    if isinstance(value, bool):
        return bool in types
    return isinstance(value, types) and (not isinstance(value, float) or isfinite(value))


def _count(value: Any) -> int:
    if not _is(value, (int,)) or value < 0:
        raise ValueError(f"{_shown(value)} is no count")
    return int(value)


def _seconds(value: Any) -> float:
    if not _is(value, (int, float)) or value < 0:
        raise ValueError(f"{_shown(value)} is no number of seconds")
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{_shown(value)} is neither true nor false")
    return value


def _or_none(value: Any, read: Any) -> Any:
    return None if value is None else read(value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
