"""Which members of a fleet a Tick may concern, found without looking at the others. Refuses to know what they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Generic, TypeVar

from changeover.rollout.agenda import Agenda

Member = TypeVar("Member")


class DueTimes(Generic[Member]):
    """An agenda that is cleaned when it is read, and the members whose time is to be asked for."""

    def __init__(self) -> None:
        self.untimed: dict[str, Member] = {}
        """By name: new ones, and those that took a step or were due since their time was asked for."""
        self._agenda = Agenda[str]()
        self._expected: dict[str, float] = {}
        """By name: the time that was returned last. An entry of the agenda with another time is passed over."""

    def due(self, members: Mapping[str, Member], at: float, when: Callable[[Member], float]) -> list[Member]:
        """Those of the members whose time has come.

        `when` returns the time of a member. It is called after each step of the member and at the returned time. In
        between the result may only become later, unless the member is put among the `untimed`.
        """
        asked, self.untimed = self.untimed, {}
        while (time := self._agenda.next) <= at:
            for name in self._agenda.take():
                if self._expected.get(name) == time:
                    del self._expected[name]
                    if (known := members.get(name)) is not None:
                        asked[name] = known
        found: list[Member] = []
        for name, member in asked.items():
            if name not in members:
                continue
            if (time := when(member)) <= at:
                self.untimed[name] = member
                found.append(member)
            elif time < inf:
                self._expected[name] = time
                self._agenda.add(time, name)
        return found
