"""GETs on a schedule that answers cannot slow down.

The k-th GET is due at start + k / rate, and its latency counts from then, also when every connection is busy
with slow answers: a prober that waits politely would measure a stall once where its clients would have met it
a thousand times ("coordinated omission"). Refuses to skip a GET that was due, and to begin one that was not
due before the stop.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

from changeover.kit.pattern import pattern
from changeover.probe.bodies import json_object
from changeover.probe.client import Connection
from changeover.probe.http_exchange import HttpRequest, HttpResponse
from changeover.probe.session import CheckResult, Session


@dataclass(frozen=True)
class Slot:
    """One place on the schedule."""

    due: float
    blob: bool
    fresh: bool


class Schedule:
    """Hands out slots in order, to as many takers as there are connections. Open-ended until `end` is set."""

    def __init__(self, start: float, rate: float, fresh_share: float) -> None:
        self.end = math.inf
        self._start = start
        self._rate = rate
        self._fresh_share = fresh_share
        self._next = 0

    def take(self) -> Slot:
        k, self._next = self._next, self._next + 1
        fresh_before, fresh_after = int(k * self._fresh_share), int((k + 1) * self._fresh_share)
        # Blobs alternate within the fresh GETs as well as within the others, whatever the share.
        place = fresh_before if fresh_after > fresh_before else k - fresh_before
        return Slot(self._start + k / self._rate, blob=place % 2 == 1, fresh=fresh_after > fresh_before)


async def send_gets(session: Session) -> None:
    """Send until the run is stopped and everything that was due by then has been answered or given up."""
    if session.stop.is_set():
        return
    load = session.load
    schedule = Schedule(session.clock.now(), load.rate, load.fresh_share)
    asker = _GetSender(session)
    async with asyncio.TaskGroup() as group:
        for _ in range(load.connections):
            group.create_task(_work(session, schedule, asker))
        await session.stop.wait()
        schedule.end = session.clock.now()


async def _work(session: Session, schedule: Schedule, asker: _GetSender) -> None:
    with Connection(session.target) as kept:
        while (slot := schedule.take()).due <= schedule.end:
            if slot.due > session.clock.now() and not await session.until(slot.due):
                return
            if slot.fresh:
                with Connection(session.target) as fresh:
                    await asker.ask(slot, fresh)
            else:
                await asker.ask(slot, kept)


class _GetSender:
    """Knows the two pages and what they must say."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._blob = pattern(0, session.load.blob_size)
        self._blob_path = f"{session.target.prefix}/blob/{session.load.blob_size}"
        self._hello_path = f"{session.target.prefix}/hello"

    async def ask(self, slot: Slot, on: Connection) -> None:
        body = bytearray()

        def check(answer: HttpResponse) -> CheckResult:
            good = body == self._blob if slot.blob else _greets(answer, body)
            return CheckResult() if good else CheckResult("corrupted", "wrong body")

        path = self._blob_path if slot.blob else self._hello_path
        request = HttpRequest("GET", path, close=slot.fresh, sink=body.extend)
        await self._session.ask("get", request, on, check, due=slot.due)


def _greets(answer: HttpResponse, body: bytearray) -> bool:
    """Whether the greeting is whole and names the instance and version that the head of the answer names."""
    said = json_object(body)
    instance, version = said.get("instance"), said.get("version")
    return (
        isinstance(instance, str)
        and isinstance(version, str)
        and answer.instance in (None, instance)
        and answer.version in (None, version)
    )
