"""A ledger with the rows of a test, and what a condition measures in it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.unit.probe.rows import row

from changeover.engine.metrics.ledger import LedgerReader
from changeover.engine.metrics.probe import ProbeSource
from changeover.model.guard import (
    Condition,
)
from changeover.probe.records.ledger import Ledger
from changeover.rollout.guard.cohorts import CohortMember, Cohorts
from changeover.rollout.guard.evaluate import Missing, Seen

BEGAN = 1000.0


FRESH = Cohorts(BEGAN, "v2", (CohortMember("app-v2-4", 992.0),), "v1", (CohortMember("app-v1-3", 990.0),), fresh=True)


OLD = Cohorts(BEGAN, "v2", (CohortMember("app-v2-4", 992.0),), "v1", (CohortMember("app-v1-1", 10.0),), fresh=False)


def why(seen: Seen) -> str:
    assert isinstance(seen, Missing)
    return seen.why


def get(end: float, instance: str | None = "app-v2-4", ms: float = 10.0, **facts: Any) -> Any:
    return row(scheduled=end - ms / 1000, started=end - ms / 1000, finished=end, instance=instance, **facts)


def lost(end: float, instance: str | None = "app-v2-4") -> Any:
    return get(end, instance, outcome="lost", reason="status 500")


def write(path: Path, rows: Sequence[Any]) -> None:
    with Ledger(path) as ledger:
        for each in sorted(rows, key=lambda one: one.finished):
            ledger.record(each)


def spread(start: float, end: float, number: int, **facts: Any) -> list[Any]:
    return [get(start + (end - start) * place / number, **facts) for place in range(number)]


def probed(source: ProbeSource | Path, *, at: float = 1010.0, sides: Cohorts = OLD, **rule: Any) -> Seen:
    condition = Condition.model_validate({"name": "a", "source": "probe", **rule})
    if isinstance(source, Path):
        source = ProbeSource(LedgerReader(source))
    return asyncio.run(source.measure("g/a", condition, sides, at))


BROKEN: dict[str, Any] = {"measure": "broken_requests", "at_most": 0}


LATENCY: dict[str, Any] = {"measure": "latency", "at_most": 100}


RATIO: dict[str, Any] = {"measure": "error_ratio", "at_most": 0.05}
