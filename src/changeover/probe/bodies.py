"""Request and response bodies: look up fields of JSON, generate large bodies at the pace of a slow client."""

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
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def field_of(document: object, name: str) -> object:
    """The field of that dotted name, such as `file.id` or `files.0.id`; None where there is none."""
    for step in name.split("."):
        if isinstance(document, dict):
            document = document.get(step)
        elif isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            document = document[int(step)]
        else:
            return None
    return document


def as_text(value: object) -> str | None:
    """A field as it stands in a path or an expectation; None for what is no string, number or truth value."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else None


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


class Form:
    """A multipart form with one file, around a body that is generated piece by piece."""

    def __init__(self, field: str, ref: str) -> None:
        self._boundary = f"changeover-{ref}"
        self._head = (
            f'--{self._boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{ref}.bin"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{self._boundary}--\r\n".encode()

    @property
    def content_type(self) -> str:
        return f"multipart/form-data; boundary={self._boundary}"

    def size(self, content: int) -> int:
        """Bytes of the whole body."""
        return len(self._head) + content + len(self._tail)

    async def around(self, content: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        yield self._head
        async for piece in content:
            yield piece
        yield self._tail
