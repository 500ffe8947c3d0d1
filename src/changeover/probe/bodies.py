"""Bodies: reading the small JSON ones, and making the large ones at the pace of a slow client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

from changeover.kit.pattern import pattern

_STEP = 0.05  # seconds between two pieces of a paced body: small enough to look steady, 20 wake-ups a second
_LARGEST = 262_144  # bytes: what a piece may hold up everything else for, about a millisecond of hashing and TLS


def json_object(body: bytes | bytearray) -> dict[str, Any]:
    """The object in it; an empty one where it is not a JSON object, so that no expected key is found."""
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


async def paced(
    seed: bytes, size: int, seconds: float, now: Callable[[], float], digest: Callable[[bytes], object]
) -> AsyncGenerator[bytes, None]:
    """The `size` bytes that belong to `seed`, spread evenly over `seconds`; each piece is digested as well.

    A peer that took a piece late gets the next ones at once until the pace is met again.
    """
    began = now()
    step = min(_LARGEST, max(1, round(size / seconds * _STEP)))
    for offset in range(0, size, step):
        wait = began + offset / size * seconds - now()
        if wait > 0:
            await asyncio.sleep(wait)
        piece = pattern(offset, min(step, size - offset), seed)
        digest(piece)
        yield piece
