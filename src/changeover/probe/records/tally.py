"""Running sums over the rows: counts, a latency histogram and the first failed rows.

Refuses to keep all rows, since a run may have a million; and refuses files and clocks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from changeover.probe.records.histogram import Histogram
from changeover.probe.records.row import LedgerRow


@dataclass
class VersionTimes:
    """Answers of one version, good and broken. Times in seconds since the epoch."""

    first: float
    last: float
    answers: int = 0
    broken: int = 0


SHOWN = 10
"""Failed rows that are kept for the report; the ledger has all of them."""


class Tally:
    """Sums over rows. `add` takes one row at a time."""

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """(kind, outcome) -> rows."""
        self.reasons: Counter[str] = Counter()
        self.moving: Counter[str] = Counter()
        """Tier that was moving -> rows that failed meanwhile."""
        self.notes: Counter[str] = Counter()
        self.latency = Histogram()
        """GETs, lost ones included: without the timeouts a stall would look fast."""
        self.bytes_uploaded = 0
        self.uploads_by_instance: Counter[str] = Counter()
        self.uploads_by_version: Counter[str] = Counter()
        self.gets_by_version: Counter[str] = Counter()
        self.versions: dict[str, VersionTimes] = {}
        """GETs and uploads with a response that names a version."""
        self.first_failures: list[LedgerRow] = []
        self.began: float | None = None
        self.ended: float | None = None

    def add(self, row: LedgerRow) -> None:
        self.outcomes[row.kind, row.outcome] += 1
        self.began = row.scheduled if self.began is None else min(self.began, row.scheduled)
        self.ended = row.finished if self.ended is None else max(self.ended, row.finished)
        if row.note:
            self.notes[row.note] += 1
        if row.kind == "get":
            self.latency.add(row.latency)
        if row.version is not None and row.kind in ("get", "upload"):
            self._add_version(row, row.version)
        if row.outcome == "ok":
            self._add_success(row)
        else:
            self._add_failure(row)

    def _add_version(self, row: LedgerRow, version: str) -> None:
        seen = self.versions.setdefault(version, VersionTimes(row.finished, row.finished))
        seen.first, seen.last = min(seen.first, row.finished), max(seen.last, row.finished)
        seen.answers += 1
        seen.broken += row.outcome != "ok"

    def _add_success(self, row: LedgerRow) -> None:
        version = row.version or "unknown"
        if row.kind == "get":
            self.gets_by_version[version] += 1
        elif row.kind == "upload":
            self.bytes_uploaded += row.bytes_sent
            self.uploads_by_version[version] += 1
            self.uploads_by_instance[row.instance or "unknown"] += 1

    def _add_failure(self, row: LedgerRow) -> None:
        self.reasons[row.reason or "unknown"] += 1
        self.moving[moving_tier(row)] += 1
        if len(self.first_failures) < SHOWN:
            self.first_failures.append(row)

    def count(self, *, kind: str | None = None, outcome: str | None = None) -> int:
        """The number of rows of a kind and outcome; None: any."""
        return sum(n for (k, o), n in self.outcomes.items() if kind in (None, k) and outcome in (None, o))


def moving_tier(row: LedgerRow) -> str:
    return "unknown" if row.tier_state is None else str(row.tier_state.get("moving") or "none")
