"""GETs on a fixed schedule that slow responses do not delay.

The k-th GET is due at start + k / rate, and its latency counts from then, even when slow responses occupy every
connection. A probe that waits for responses would measure a stall once where real clients meet it a thousand times
("coordinated omission"). Refuses to skip a due GET, and to start one that is due after the stop.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce

from changeover.model.probe import Get
from changeover.probe.expectation import BodyCheck
from changeover.probe.http.client import Connection
from changeover.probe.http.exchange import HttpRequest
from changeover.probe.session import Session


@dataclass(frozen=True)
class Slot:
    """One GET of the schedule. `get`: its position among the GETs of the plan."""

    due: float
    get: int
    fresh: bool


class Schedule:
    """Gives out slots in order; all connections share it. Has no end until `end` is set."""

    def __init__(self, start: float, rate: float, fresh_share: float, weights: Sequence[int]) -> None:
        self.end = math.inf
        self._start = start
        self._rate = rate
        self._fresh_share = fresh_share
        self._turns = turns(weights)
        self._next = 0

    def take(self) -> Slot:
        k, self._next = self._next, self._next + 1
        fresh_before, fresh_after = int(k * self._fresh_share), int((k + 1) * self._fresh_share)
        # Every path has its share, among the fresh connections and among the kept ones, for any share of them.
        place = fresh_before if fresh_after > fresh_before else k - fresh_before
        return Slot(
            self._start + k / self._rate, self._turns[place % len(self._turns)], fresh=fresh_after > fresh_before
        )


def turns(weights: Sequence[int]) -> tuple[int, ...]:
    """A cycle in which each position occurs as often as its weight, evenly spread."""
    common = reduce(math.gcd, weights)
    places = [
        (Fraction(2 * turn + 1, 2 * (weight // common)), position)
        for position, weight in enumerate(weights)
        for turn in range(weight // common)
    ]
    return tuple(position for _, position in sorted(places))


async def send_gets(session: Session) -> None:
    """Send until the stop; then wait until each GET that was due before it has a response or has timed out."""
    if session.stop.is_set():
        return
    traffic = session.plan.traffic
    weights = [get.weight for get in traffic.get]
    schedule = Schedule(session.clock.now(), traffic.rate, traffic.fresh_share, weights)
    async with asyncio.TaskGroup() as group:
        for _ in range(traffic.connections):
            group.create_task(_work(session, schedule))
        await session.stop.wait()
        schedule.end = session.clock.now()


async def _work(session: Session, schedule: Schedule) -> None:
    with Connection(session.target) as kept:
        while (slot := schedule.take()).due <= schedule.end:
            if slot.due > session.clock.now() and not await session.until(slot.due):
                return
            get = session.plan.gets[slot.get]
            if slot.fresh:
                with Connection(session.target) as fresh:
                    await _send(session, get, slot, fresh)
            else:
                await _send(session, get, slot, kept)


async def _send(session: Session, get: Get, slot: Slot, connection: Connection) -> None:
    body = BodyCheck(get, session.naming)
    request = HttpRequest(
        "GET",
        session.target.prefix + get.path,
        headers=session.headers(get.headers),
        close=slot.fresh,
        status=get.status,
        sink=body.feed,
    )
    await session.send("get", request, connection, body.judge, due=slot.due)
