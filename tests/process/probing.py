"""One run of the prober against one broken server, in one event loop, ended by what the ledger holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.probe_plans import example_plan
from tests.process.probed_server import Fault, Plan, ProbedServer

from changeover.probe.records.ledger import Ledger, read_ledger
from changeover.probe.records.row import LedgerRow
from changeover.probe.records.tally import Tally
from changeover.probe.traffic import run
from changeover.probe.traffic_plan import TrafficPlan
from changeover.probe.verdict import Verdict

LONGEST = 30.0  # seconds until a run is given up; a machine with many tests at once needs ten for some

GETS: dict[str, Any] = {"rate": 200.0, "uploads": 0, "timeout": 5.0}
UPLOADS: dict[str, Any] = {"rate": 0.0, "uploads": 1, "upload_size": 300_000, "upload_seconds": 0.1, "timeout": 5.0}

Enough = Callable[[Tally], bool]


class WatchedLedger(Ledger):
    """Stops the run as soon as it holds enough."""

    def __init__(self, path: Path, enough: Enough) -> None:
        super().__init__(path)
        self.stop = asyncio.Event()
        self._enough = enough

    def record(self, row: LedgerRow) -> None:
        super().record(row)
        if self._enough(self.tally):
            self.stop.set()


@dataclass(frozen=True)
class Ran:
    verdict: Verdict
    rows: list[LedgerRow]

    def wrong(self) -> list[tuple[str, str, str | None]]:
        return [(row.kind, row.outcome, row.reason) for row in self.rows if row.outcome != "ok"]


def rows(number: int, kind: str | None = None) -> Enough:
    return lambda tally: tally.count(kind=kind) >= number


def once(what: str, fault: Fault, at: int = 0) -> Plan:
    return lambda asked, before: fault if (asked, before) == (what, at) else None


def probed(folder: Path, server: ProbedServer, enough: Enough, **load: Any) -> Ran:
    """Run against that server until the ledger holds enough."""

    async def go() -> Ran:
        async with server:
            return await run_probe(folder, server.url, enough, **load)

    return asyncio.run(go())


async def run_probe(folder: Path, url: str, enough: Enough, **load: Any) -> Ran:
    """Run against that address; `tier_state` and `progress` go where they belong, the rest changes the plan."""
    options = {name: load.pop(name) for name in ("tier_state", "progress") if name in load}
    return await run_plan(folder, example_plan(url, **load), enough, **options)


async def run_plan(folder: Path, plan: TrafficPlan, enough: Enough, **options: Any) -> Ran:
    with WatchedLedger(folder / "ledger.jsonl", enough) as ledger:
        async with asyncio.timeout(LONGEST):
            verdict = await run(plan, ledger=ledger, stop=ledger.stop, **options)
    return Ran(verdict, list(read_ledger(ledger.path)))
