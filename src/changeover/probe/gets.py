"""GETs on a fixed schedule that slow responses do not delay.

The k-th GET is due at start + k / rate, and its latency counts from then, even when slow responses occupy every
connection. A probe that waits for responses would measure a stall once where real clients meet it a thousand times
("coordinated omission"). Refuses to skip a due GET, and to start one that is due after the stop.
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
    """One GET of the schedule."""

    due: float
    blob: bool
    fresh: bool


class Schedule:
    """Gives out slots in order; all connections share it. Has no end until `end` is set."""

    def __init__(self, start: float, rate: float, fresh_share: float) -> None:
        self.end = math.inf
        self._start = start
        self._rate = rate
        self._fresh_share = fresh_share
        self._next = 0

    def take(self) -> Slot:
        k, self._next = self._next, self._next + 1
        fresh_before, fresh_after = int(k * self._fresh_share), int((k + 1) * self._fresh_share)
        # Every second GET is a blob, among the fresh connections and among the kept ones, for any share.
        place = fresh_before if fresh_after > fresh_before else k - fresh_before
        return Slot(self._start + k / self._rate, blob=place % 2 == 1, fresh=fresh_after > fresh_before)


async def send_gets(session: Session) -> None:
    """Send until the stop; then wait until each GET that was due before it has a response or has timed out."""
    if session.stop.is_set():
        return
    plan = session.plan
    schedule = Schedule(session.clock.now(), plan.rate, plan.fresh_share)
    sender = _GetSender(session)
    async with asyncio.TaskGroup() as group:
        for _ in range(plan.connections):
            group.create_task(_work(session, schedule, sender))
        await session.stop.wait()
        schedule.end = session.clock.now()


async def _work(session: Session, schedule: Schedule, sender: _GetSender) -> None:
    with Connection(session.target) as kept:
        while (slot := schedule.take()).due <= schedule.end:
            if slot.due > session.clock.now() and not await session.until(slot.due):
                return
            if slot.fresh:
                with Connection(session.target) as fresh:
                    await sender.send(slot, fresh)
            else:
                await sender.send(slot, kept)


class _GetSender:
    """Requests the two pages and checks their content."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._blob = pattern(0, session.plan.blob_size)
        self._blob_path = f"{session.target.prefix}/blob/{session.plan.blob_size}"
        self._hello_path = f"{session.target.prefix}/hello"

    async def send(self, slot: Slot, connection: Connection) -> None:
        body = bytearray()

        def check(response: HttpResponse) -> CheckResult:
            good = body == self._blob if slot.blob else _is_greeting(response, body)
            return CheckResult() if good else CheckResult("corrupted", "wrong body")

        path = self._blob_path if slot.blob else self._hello_path
        request = HttpRequest("GET", path, close=slot.fresh, sink=body.extend)
        await self._session.send("get", request, connection, check, due=slot.due)


def _is_greeting(response: HttpResponse, body: bytearray) -> bool:
    """Whether the greeting is complete and names the same instance and version as the response's headers."""
    greeting = json_object(body)
    instance, version = greeting.get("instance"), greeting.get("version")
    return (
        isinstance(instance, str)
        and isinstance(version, str)
        and response.instance in (None, instance)
        and response.version in (None, version)
    )
