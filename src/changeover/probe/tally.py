"""What is remembered of the rows: counts, a histogram, the first few that went wrong. Never the rows
themselves: a run may have a million. Refuses files and clocks.
"""

from __future__ import annotations

from collections import Counter

from changeover.probe.histogram import Histogram
from changeover.probe.ledger_row import LedgerRow

SHOWN = 10
"""How many of the rows that went wrong are kept to be shown; the ledger has them all."""


class Tally:
    """Sums over rows, added one by one."""

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """(kind, outcome) -> rows."""
        self.reasons: Counter[str] = Counter()
        self.moving: Counter[str] = Counter()
        """Tier that was moving -> rows that went wrong meanwhile."""
        self.notes: Counter[str] = Counter()
        self.latency = Histogram()
        """GETs only, lost ones too: leaving out those that timed out would make a stall look fast."""
        self.bytes_uploaded = 0
        self.uploads_by_instance: Counter[str] = Counter()
        self.uploads_by_version: Counter[str] = Counter()
        self.gets_by_version: Counter[str] = Counter()
        self.wrong: list[LedgerRow] = []
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
        if row.outcome == "ok":
            self._add_good(row)
        else:
            self._add_wrong(row)

    def _add_good(self, row: LedgerRow) -> None:
        version = row.version or "unknown"
        if row.kind == "get":
            self.gets_by_version[version] += 1
        elif row.kind == "upload":
            self.bytes_uploaded += row.bytes_sent
            self.uploads_by_version[version] += 1
            self.uploads_by_instance[row.instance or "unknown"] += 1

    def _add_wrong(self, row: LedgerRow) -> None:
        self.reasons[row.reason or "unknown"] += 1
        self.moving[_moving(row)] += 1
        if len(self.wrong) < SHOWN:
            self.wrong.append(row)

    def count(self, *, kind: str | None = None, outcome: str | None = None) -> int:
        """Rows of that kind and outcome; None: any."""
        return sum(n for (k, o), n in self.outcomes.items() if kind in (None, k) and outcome in (None, o))


def _moving(row: LedgerRow) -> str:
    return "unknown" if row.tier_state is None else str(row.tier_state.get("moving") or "none")
