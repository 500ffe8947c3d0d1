"""Sends a request and writes its row: the one place where an answer becomes an outcome.

Refuses to choose what to send, and to judge what a body should have said: its callers do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from changeover.kit.clock import Clock
from changeover.probe.client import Connection, ProbeTarget, TimeLimits
from changeover.probe.http_exchange import HttpRequest, HttpResponse
from changeover.probe.ledger import Ledger
from changeover.probe.ledger_row import LedgerRow, RequestKind, RequestOutcome, RowNote
from changeover.probe.traffic_plan import TrafficPlan

TierState = Callable[[], Mapping[str, object]]


@dataclass(frozen=True)
class CheckResult:
    """What a check says of a complete answer."""

    outcome: RequestOutcome = "ok"
    reason: str | None = None
    sha256: str | None = None
    note: RowNote | None = None


Check = Callable[[HttpResponse], CheckResult]
"""Asked only where the answer itself gave no reason to call the request lost."""


class Session:
    """What all parts of one run share."""

    def __init__(
        self,
        load: TrafficPlan,
        target: ProbeTarget,
        ledger: Ledger,
        stop: asyncio.Event,
        tier_state: TierState | None = None,
    ) -> None:
        self.load = load
        self.target = target
        self.ledger = ledger
        self.stop = stop
        self.clock = Clock()
        self.uploading = 0
        self._tier_state = tier_state

    async def until(self, when: float) -> bool:
        """Wait for that time; False when the run was stopped before."""
        if self.stop.is_set():
            return False
        try:
            async with asyncio.timeout(when - self.clock.now()):
                await self.stop.wait()
        except TimeoutError:
            return True
        return False

    async def ask(
        self,
        kind: RequestKind,
        request: HttpRequest,
        on: Connection,
        check: Check,
        *,
        limit: TimeLimits | None = None,
        due: float | None = None,
        ref: str | None = None,
    ) -> LedgerRow:
        """Send, check, record. `due`: when it should have been sent; its time runs from there. None: now.

        Without a `limit` the load's timeout bounds the whole of it. A request whose time ran out before a
        connection was free is lost without being sent: its client would have given up.
        """
        started = self.clock.now()
        scheduled = started if due is None else due
        left = scheduled + self.load.timeout - started
        if left > 0:
            answer = await on.ask(request, limit or TimeLimits(left))
        else:
            answer = HttpResponse("timeout before sending", None, None, None, 0, 0, reused=None, left=False)
        finished = self.clock.now()
        verdict = CheckResult("lost", answer.reason) if answer.reason else check(answer)
        row = LedgerRow(
            kind=kind,
            path=request.path,
            scheduled=scheduled,
            started=started,
            finished=finished,
            connection="none" if answer.reused is None else "keep-alive" if answer.reused else "fresh",
            outcome=verdict.outcome,
            reason=verdict.reason,
            status=answer.status,
            bytes_sent=answer.sent,
            bytes_received=answer.received,
            sha256=verdict.sha256,
            ref=ref,
            instance=answer.instance,
            version=answer.version,
            note=verdict.note,
            tier_state=self._tier_state() if self._tier_state and verdict.outcome != "ok" else None,
        )
        self.ledger.record(row)
        return row
