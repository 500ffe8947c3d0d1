"""Deliver events to the listener in order. A slow or failing listener never affects uploads."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from changeover.uploads.core.manifest import Dialect, Manifest
from changeover.uploads.core.metrics import UploadMetrics

EventKind = Literal["created", "progress", "completed", "handled", "cancelled", "expired"]
"""What happened; `UploadEvent.kind` describes each."""

_LOG = logging.getLogger(__name__)

BACKLOG = 1000
"""Events that may wait for a slow listener. Beyond that, `progress` events are dropped."""


@dataclass(frozen=True)
class UploadEvent:
    """What happened to an upload. The instance that did it emits the event; one that dies may not emit its last."""

    kind: EventKind
    """`progress`: bytes were committed. `completed`: every byte is there. `handled`: the handler's response is stored.
    `cancelled`: by its client, or because its first request failed. `expired`: it was collected."""
    id: str
    """Identifies the upload."""
    owner: str
    """As `authorise` returned it; empty without that hook."""
    dialect: Dialect
    """The protocol of the request that created the upload."""
    offset: int
    """Bytes that are durable."""
    length: int | None
    """Bytes that the upload will have; None while unknown."""


EventListener = Callable[[UploadEvent], object]
"""Receives every event; may be a coroutine function. Exceptions are logged."""


class EventDispatcher:
    """Counts events and delivers them to a listener, if there is one."""

    def __init__(self, on_event: EventListener | None, metrics: UploadMetrics, timeout: float) -> None:
        self._on_event = on_event
        self._metrics = metrics
        self._timeout = timeout
        """Seconds that `delivered` waits."""
        self._waiting: deque[UploadEvent] = deque()
        self._delivery: asyncio.Task[None] | None = None

    def emit(self, kind: EventKind, manifest: Manifest) -> None:
        """Queue an event. Does not block."""
        if kind != "progress":
            self._metrics.events.labels(kind, manifest.dialect).inc()
        if self._on_event is None or (kind == "progress" and len(self._waiting) >= BACKLOG):
            return
        offset = manifest.offset or manifest.parts_size
        self._waiting.append(UploadEvent(kind, manifest.id, manifest.owner, manifest.dialect, offset, manifest.length))
        if self._delivery is None:
            self._delivery = asyncio.get_running_loop().create_task(self._deliver(self._on_event))

    async def _deliver(self, on_event: EventListener) -> None:
        try:
            while self._waiting:
                try:
                    result = on_event(self._waiting.popleft())
                    if inspect.isawaitable(result):
                        await result
                except Exception:
                    _LOG.exception("on_event failed; uploads continue")
        finally:
            self._delivery = None

    async def delivered(self) -> None:
        """Wait until the listener has received every event, or the timeout has passed."""
        if self._delivery is not None:
            _, unfinished = await asyncio.wait([self._delivery], timeout=self._timeout)
            for each in unfinished:
                each.cancel()
                await asyncio.wait([each])
