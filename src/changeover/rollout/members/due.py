"""Which members of a fleet a Tick may concern, found without looking at the others. Refuses to know what they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from math import inf
from typing import Generic, TypeVar

Member = TypeVar("Member")


class DueTimes(Generic[Member]):
    """A heap of times that is cleaned when it is read, and the members whose time is to be asked for."""

    def __init__(self) -> None:
        self.untimed: dict[str, Member] = {}
        """By name: new ones, and those that took a step or were due since their time was asked for."""
        self._heap: list[tuple[float, str]] = []

    def due(self, members: Mapping[str, Member], at: float, when: Callable[[Member], float]) -> list[Member]:
        """Those of the members whose time has come.

        `when` returns the time of a member. It is called after each step of the member and at the returned time. In
        between the result may only become later, unless the member is put among the `untimed`.
        """
        asked, self.untimed = self.untimed, {}
        found: list[Member] = []
        for name, member in asked.items():
            if name in members:
                if (time := when(member)) <= at:
                    self.untimed[name] = member
                    found.append(member)
                elif time < inf:
                    heappush(self._heap, (time, name))
        while self._heap and self._heap[0][0] <= at:
            name = heappop(self._heap)[1]
            if name not in self.untimed and (known := members.get(name)) is not None:
                self.untimed[name] = known
                if when(known) <= at:
                    found.append(known)
        return found
