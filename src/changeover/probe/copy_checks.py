"""Count the copies that the server holds of each upload, to find uploads that arrived twice.

The check runs after the acknowledgement and again after all traffic: a hop that retried the request may deliver the
second copy late. A lost upload may have no copy or one; the row records which. Refuses to count a duplicate twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from changeover.model.probe import Copies
from changeover.probe.bodies import as_text, field_of, json_object
from changeover.probe.http.client import Connection
from changeover.probe.http.exchange import HttpRequest
from changeover.probe.records.row import LedgerRow
from changeover.probe.session import CheckResult, Session


@dataclass(frozen=True)
class SentUpload:
    """An upload that was sent. `path` lists its copies; `id` is what the only one must be (empty: anything)."""

    ref: str
    copies: Copies
    path: str
    acknowledged: bool
    id: str


class CopyChecks:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._later: list[SentUpload] = []

    def count_at_the_end(self, upload: SentUpload) -> None:
        self._later.append(upload)

    async def count(self, upload: SentUpload, connection: Connection) -> None:
        """Check now, and unless the check failed, again at the end."""
        row = await self._check(upload, connection)
        if row.outcome == "ok" or row.status != 200:
            self._later.append(upload)

    async def finish(self) -> None:
        """Run the remaining checks. All are due at once, so the plan's timeout bounds all of them together."""
        due = self._session.clock.now()
        waiting = iter(self._later)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(len(self._later), self._session.plan.traffic.connections)):
                group.create_task(self._work(waiting, due))

    async def _work(self, waiting: Iterator[SentUpload], due: float) -> None:
        with Connection(self._session.target) as connection:
            for upload in waiting:
                await self._check(upload, connection, due)

    async def _check(self, upload: SentUpload, connection: Connection, due: float | None = None) -> LedgerRow:
        body = bytearray()
        request = HttpRequest("GET", upload.path, headers=self._session.headers(), sink=body.extend)
        return await self._session.send(
            "check", request, connection, lambda _: _judge(upload, body), due=due, ref=upload.ref
        )


def _judge(upload: SentUpload, body: bytearray) -> CheckResult:
    found = field_of(json_object(body), upload.copies.field)
    number = len(found) if isinstance(found, list) else found
    if not isinstance(number, int) or isinstance(number, bool):
        return CheckResult("corrupted", "wrong body")
    if number > 1:
        return CheckResult("duplicated", f"stored {number} times")
    if not upload.acknowledged:
        return CheckResult(note="stored although lost" if number else None)
    is_it = not upload.id or (isinstance(found, list) and [as_text(item) for item in found] == [upload.id])
    return CheckResult() if number and is_it else CheckResult("lost", "acknowledged but not stored")
