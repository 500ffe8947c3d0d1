"""One line of any log of a chain, and lines of many logs in one order of time."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from changeover.kit.clock import utc

CONTROLLER, KEEPER, ROLL, BALANCER = "controller", "keeper", "roll", "haproxy"
PROGRESS = frozenset({KEEPER, ROLL})
"""Sources that print what they also write into the journal."""


@dataclass(frozen=True)
class Entry:
    """`at`: its place, in seconds since the epoch. `time`: the time that the line itself names; None without one.

    `source`: an instance, CONTROLLER, KEEPER, ROLL or BALANCER. `level`: empty where a server wrote the line.
    """

    at: float
    time: float | None
    source: str
    message: str
    tier: str = ""
    instance: str = ""
    rollout: int | None = None
    event: str = "output"
    level: str = ""

    def data(self) -> dict[str, Any]:
        """As an object. `time` is RFC 3339 in UTC."""
        return {
            "time": None if self.time is None else utc(self.time),
            "level": self.level or None,
            "source": self.source,
            "rollout": self.rollout,
            "tier": self.tier or None,
            "instance": self.instance or None,
            "event": self.event,
            "message": self.message,
        }

    def is_of(self, target: str) -> bool:
        """Whether it is the target's: an instance, a tier, or a source. The empty target has every line."""
        return target in ("", self.source, self.instance, self.tier)


def merged(logs: Iterable[Iterable[Entry]]) -> Iterator[Entry]:
    """All entries in the order of their places. Each log has its own in that order already.

    What keeper and detached command print with the time of a line in the journal is left out: the journal has it.
    """
    known: set[str] = set()
    now = -1.0
    for entry in heapq.merge(*logs, key=lambda entry: (entry.at, entry.source in PROGRESS)):
        if entry.at != now:
            known, now = set(), entry.at
        about = entry.instance or entry.tier
        if entry.source == CONTROLLER:
            known.add(about)
        elif entry.source in PROGRESS and about in known:
            continue
        yield entry
