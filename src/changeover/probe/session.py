"""Send a request and write its row: the only place where a response becomes an outcome.

Refuses to choose requests and to judge bodies: its callers do that.
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

TierStateReader = Callable[[], Mapping[str, object]]


@dataclass(frozen=True)
class CheckResult:
    """The result of a check of a complete response."""

    outcome: RequestOutcome = "ok"
    reason: str | None = None
    sha256: str | None = None
    note: RowNote | None = None


Check = Callable[[HttpResponse], CheckResult]
"""Runs only for a response that has no `reason`."""


class Session:
    """What all tasks of a run share."""

    def __init__(
        self,
        plan: TrafficPlan,
        target: ProbeTarget,
        ledger: Ledger,
        stop: asyncio.Event,
        tier_state: TierStateReader | None = None,
    ) -> None:
        self.plan = plan
        self.target = target
        self.ledger = ledger
        self.stop = stop
        self.clock = Clock()
        self.uploading = 0
        self._tier_state = tier_state

    async def until(self, when: float) -> bool:
        """Wait until that time. Returns False when the run stops first."""
        if self.stop.is_set():
            return False
        try:
            async with asyncio.timeout(when - self.clock.now()):
                await self.stop.wait()
        except TimeoutError:
            return True
        return False

    async def send(
        self,
        kind: RequestKind,
        request: HttpRequest,
        connection: Connection,
        check: Check,
        *,
        limits: TimeLimits | None = None,
        due: float | None = None,
        ref: str | None = None,
    ) -> LedgerRow:
        """Send, check and record a request. Its latency and timeout run from `due` (None: from now).

        Without `limits`, the plan's timeout bounds the request. When the timeout passes before a connection is free,
        the request counts as lost and is not sent: its client would have given up.
        """
        started = self.clock.now()
        scheduled = started if due is None else due
        left = scheduled + self.plan.timeout - started
        if left > 0:
            response = await connection.send(request, limits or TimeLimits(left))
        else:
            response = HttpResponse("timeout before sending", None, None, None, 0, 0, reused=None, abandoned=False)
        finished = self.clock.now()
        result = CheckResult("lost", response.reason) if response.reason else check(response)
        row = LedgerRow(
            kind=kind,
            path=request.path,
            scheduled=scheduled,
            started=started,
            finished=finished,
            connection="none" if response.reused is None else "keep-alive" if response.reused else "fresh",
            outcome=result.outcome,
            reason=result.reason,
            status=response.status,
            bytes_sent=response.bytes_sent,
            bytes_received=response.bytes_received,
            sha256=result.sha256,
            ref=ref,
            instance=response.instance,
            version=response.version,
            note=result.note,
            tier_state=self._tier_state() if self._tier_state and result.outcome != "ok" else None,
        )
        self.ledger.record(row)
        return row
