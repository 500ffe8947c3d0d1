"""Counts what the server has of each upload, to find the ones that arrived twice.

Asked right after an acknowledgement, and again when all traffic is over: a second copy, from a hop that sent
the request a second time, may be slower than the first. Of an upload that its client lost, none or one may be
there; which of the two is written down. Refuses to count the same duplicate twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from changeover.probe.bodies import json_object
from changeover.probe.client import Connection
from changeover.probe.http_exchange import HttpRequest
from changeover.probe.ledger_row import LedgerRow
from changeover.probe.session import CheckResult, Session


@dataclass(frozen=True)
class SentUpload:
    """An upload that was sent. `id` None: it was not acknowledged, or not correctly."""

    ref: str
    id: str | None


class CopyChecks:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._later: list[SentUpload] = []

    def count_at_the_end(self, stored: SentUpload) -> None:
        self._later.append(stored)

    async def count(self, stored: SentUpload, on: Connection) -> None:
        """Ask now, and unless the answer was a bad one, again at the end."""
        row = await self._ask(stored, on)
        if row.outcome == "ok" or row.status != 200:
            self._later.append(stored)

    async def settle(self) -> None:
        """Ask for all that is left. All are due at once, so the load's timeout bounds the whole of it."""
        due = self._session.clock.now()
        waiting = iter(self._later)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(len(self._later), self._session.load.connections)):
                group.create_task(self._work(waiting, due))

    async def _work(self, waiting: Iterator[SentUpload], due: float) -> None:
        with Connection(self._session.target) as connection:
            for stored in waiting:
                await self._ask(stored, connection, due)

    async def _ask(self, stored: SentUpload, on: Connection, due: float | None = None) -> LedgerRow:
        body = bytearray()
        request = HttpRequest("GET", f"{self._session.target.prefix}/uploads?ref={stored.ref}", sink=body.extend)
        return await self._session.ask("check", request, on, lambda _: _judge(stored, body), due=due, ref=stored.ref)


def _judge(stored: SentUpload, body: bytearray) -> CheckResult:
    ids = json_object(body).get("ids")
    if not isinstance(ids, list):
        return CheckResult("corrupted", "wrong body")
    if len(ids) > 1:
        return CheckResult("duplicated", f"stored {len(ids)} times")
    if stored.id is None:
        return CheckResult(note="stored although lost" if ids else None)
    return CheckResult() if ids == [stored.id] else CheckResult("lost", "acknowledged but not stored")
