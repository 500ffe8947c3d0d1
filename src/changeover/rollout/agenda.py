"""What is to happen and when: by time, and within a time in the order in which it was added.

An engine looks at all instances at once, so in a large fleet much is due at the same moment. The heap has each moment
once, and costs what the moments cost, not what happens in them.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Agenda(Generic[Item]):
    """Items, each with a time that may be any number but infinity."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._at: dict[float, list[Item]] = {}

    def add(self, at: float, item: Item) -> None:
        if (there := self._at.get(at)) is not None:
            there.append(item)
        else:
            self._at[at] = [item]
            heappush(self._times, at)

    @property
    def next(self) -> float:
        """The time of the first items; infinity without any."""
        return self._times[0] if self._times else inf

    def take(self) -> list[Item]:
        """Remove all items of that time. What is added for the same time later comes with another call."""
        return self._at.pop(heappop(self._times)) if self._times else []
