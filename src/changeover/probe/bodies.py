"""Request and response bodies: parse small JSON objects, generate large bodies at the pace of a slow client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

from changeover.kit.pattern import pattern

_INTERVAL = 0.05  # seconds between two pieces of a paced body: a steady rate for 20 wake-ups a second
_LARGEST_PIECE = 262_144  # bytes: hashing and encrypting one piece blocks the event loop for about a millisecond


def json_object(body: bytes | bytearray) -> dict[str, Any]:
    """The parsed object; empty when the body is not a JSON object, so that a lookup finds no expected key."""
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


async def paced(
    seed: bytes, size: int, seconds: float, now: Callable[[], float], digest: Callable[[bytes], object]
) -> AsyncGenerator[bytes, None]:
    """Yield the `size` bytes of `seed`, spread evenly over `seconds`, and pass each piece to `digest`.

    After a peer has read slowly, the following pieces come without delay until the pace is met again.
    """
    began = now()
    step = min(_LARGEST_PIECE, max(1, round(size / seconds * _INTERVAL)))
    for offset in range(0, size, step):
        wait = began + offset / size * seconds - now()
        if wait > 0:
            await asyncio.sleep(wait)
        piece = pattern(offset, min(step, size - offset), seed)
        digest(piece)
        yield piece
