"""Send a request and write its row: the only place where a response becomes an outcome.

Refuses to choose requests and to judge bodies: its callers do that.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from changeover.kit.clock import Clock
from changeover.model.probe import ProbeSettings
from changeover.probe.http.client import Connection, ProbeTarget, TimeLimits
from changeover.probe.http.exchange import HttpRequest, HttpResponse
from changeover.probe.records.ledger import Ledger
from changeover.probe.records.row import LedgerRow, RequestKind, RequestOutcome, RowNote
from changeover.probe.traffic_plan import TrafficPlan

TierStateReader = Callable[[], Mapping[str, object]]
LEAST = 5.0
"""Seconds that a request has from when it is sent, or the plan's timeout if that is shorter. With what is left of its
timeout alone, a probe that a stall put behind its schedule would break off each connect, and never catch up."""
LATE = "response after the timeout"


@dataclass(frozen=True)
class CheckResult:
    """The result of a check of a complete response."""

    outcome: RequestOutcome = "ok"
    reason: str | None = None
    sha256: str | None = None
    note: RowNote | None = None
    version: str | None = None
    """The version that the body names. None: the header's."""


@dataclass(frozen=True)
class Naming:
    """How responses name their instance and version."""

    instance_header: str
    version_header: str
    pattern: re.Pattern[bytes] | None

    @classmethod
    def of(cls, traffic: ProbeSettings) -> Naming:
        pattern = re.compile(traffic.version_pattern.encode()) if traffic.version_pattern else None
        return cls(traffic.instance_header.lower(), traffic.version_header.lower(), pattern)

    def instance(self, response: HttpResponse) -> str | None:
        return response.headers.get(self.instance_header)

    def version(self, response: HttpResponse) -> str | None:
        return response.headers.get(self.version_header)

    def version_in(self, body: bytes | bytearray) -> str | None:
        """The version that a body names by the pattern; None where there is none."""
        if self.pattern is None or (found := self.pattern.search(body)) is None:
            return None
        return (found[1] if self.pattern.groups else found[0]).decode("utf-8", "replace") or None


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
        on_row: Callable[[LedgerRow], None] | None = None,
    ) -> None:
        self.plan = plan
        self.target = target
        self.ledger = ledger
        self.stop = stop
        self.naming = Naming.of(plan.traffic)
        self.clock = Clock()
        self.uploading = 0
        self._tier_state = tier_state
        self._on_row = on_row

    def headers(self, own: Mapping[str, str] = MappingProxyType({})) -> tuple[tuple[str, str], ...]:
        """The headers of every request and, in front of them, those of this one."""
        names = {name.lower() for name in own}
        every = self.plan.traffic.headers.items()
        return (*own.items(), *((name, value) for name, value in every if name.lower() not in names))

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
        the request counts as lost and is not sent: its client would have given up. One whose response comes later than
        that, because it was sent late, is lost too.
        """
        started = self.clock.now()
        scheduled = started if due is None else due
        timeout = self.plan.traffic.timeout
        left = scheduled + timeout - started
        if left > 0:
            response = await connection.send(request, limits or TimeLimits(max(left, min(timeout, LEAST))))
        else:
            response = HttpResponse("timeout before sending", None, {}, 0, 0, reused=None, abandoned=False)
        finished = self.clock.now()
        result = CheckResult("lost", response.reason) if response.reason else check(response)
        if result.outcome == "ok" and due is not None and finished > scheduled + timeout:
            result = replace(result, outcome="lost", reason=LATE)
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
            instance=self.naming.instance(response),
            version=result.version or self.naming.version(response),
            note=result.note,
            tier_state=self._tier_state() if self._tier_state and result.outcome != "ok" else None,
        )
        self.ledger.record(row)
        if self._on_row:
            self._on_row(row)
        return row
