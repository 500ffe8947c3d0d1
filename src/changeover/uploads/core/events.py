"""Who wants to know of uploads is told, in order, and can neither break nor hold up any of them."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from changeover.uploads.core import metrics
from changeover.uploads.core.manifest import Dialect, Manifest

EventKind = Literal["created", "progress", "completed", "answered", "cancelled", "expired"]

_LOG = logging.getLogger(__name__)

BEHIND = 1000
"""Events that wait for a slow listener; while there are as many, it is told of no progress."""
PATIENCE = 5.0
"""Seconds that a listener has at the end of a process for what it was not told yet."""


@dataclass(frozen=True)
class UploadEvent:
    """What happened to an upload, as the instance tells that did it.

    `progress` comes with every commit, `completed` when every byte is there, `answered` when the application's answer
    is kept. `cancelled`: by its client, or given up. A process that dies may have told nobody of what it did last.
    """

    kind: EventKind
    id: str
    owner: str
    dialect: Dialect
    offset: int
    """Bytes that are there for good."""
    length: int | None
    """Bytes it will have in the end, where that is known."""


EventListener = Callable[[UploadEvent], object]
"""Told of every event; may be a coroutine function. What it raises is logged."""


class EventDispatcher:
    """Tells a listener, if there is one, and counts."""

    def __init__(self, listener: EventListener | None) -> None:
        self._listener = listener
        self._waiting: deque[UploadEvent] = deque()
        self._telling: asyncio.Task[None] | None = None

    def emit(self, kind: EventKind, manifest: Manifest) -> None:
        """Returns at once."""
        if kind != "progress":
            metrics.UPLOADS.labels(kind, manifest.dialect).inc()
        if self._listener is None or (kind == "progress" and len(self._waiting) >= BEHIND):
            return
        offset = manifest.offset or sum(part.size for part in manifest.parts.values())
        about = (manifest.id, manifest.owner, manifest.dialect, offset, manifest.length)
        self._waiting.append(UploadEvent(kind, *about))
        if self._telling is None:
            self._telling = asyncio.get_running_loop().create_task(self._tell(self._listener))

    async def _tell(self, listener: EventListener) -> None:
        try:
            while self._waiting:
                try:
                    told = listener(self._waiting.popleft())
                    if inspect.isawaitable(told):
                        await told
                except Exception:
                    _LOG.exception("the listener for uploads failed; uploads go on")
        finally:
            self._telling = None

    async def delivered(self) -> None:
        """Wait until the listener has been told everything, or does not come to an end."""
        if self._telling is not None:
            _, unfinished = await asyncio.wait([self._telling], timeout=PATIENCE)
            for each in unfinished:
                each.cancel()
                await asyncio.wait([each])
