"""One look at a page as its clients get it: the regions, and the server-sent event that brings a client up to date.

An event is made once for all clients that saw the same look before. Refuses to keep one for each client: those that
fell behind differ, and their events would fill the memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from changeover.web.page.snapshot import Snapshot

SHARED = 4
"""Events of one look that are kept: nearly all clients saw the look before it, or one of the two before that."""


@dataclass(frozen=True)
class Look:
    """The regions of a page, and the snapshots of all chains that they show."""

    seen: Sequence[Snapshot]
    regions: Mapping[str, str]
    _events: dict[str, bytes] = field(default_factory=dict, repr=False)
    """By the id of the look before."""

    @cached_property
    def id(self) -> str:
        """The same for the same regions. A client that connects again names the last one that it has."""
        return hashlib.sha256(json.dumps(self.regions, sort_keys=True).encode()).hexdigest()[:16]

    def event(self, before: Look | None) -> bytes:
        """The regions that changed since the look before, all of them without one; empty where none changed."""
        known = "" if before is None else before.id
        if known == self.id:
            return b""
        if (event := self._events.get(known)) is None:
            old: Mapping[str, str] = {} if before is None else before.regions
            changed = {region: html for region, html in self.regions.items() if old.get(region) != html}
            event = f"id: {self.id}\nevent: regions\ndata: {json.dumps(changed)}\n\n".encode()
            if len(self._events) < SHARED:
                self._events[known] = event
        return event
