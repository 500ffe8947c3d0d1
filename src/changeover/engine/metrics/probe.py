"""Samples from the probe: what clients met, row by row, as its ledger tells while it grows.

- `broken_requests`: every row since the step began that did not go well, of all kinds and whoever answered, if
  anybody.
- `error_ratio`: of the rows that bear the name of a canary instance. A broken one that bears no name could be
  anybody's: against a threshold the sample says what it would be at worst, and a comparison has no sample.
- `latency`: of GETs, also those that went wrong. Against a threshold it counts from when a request was due, as its
  client waits; in a comparison from when it was sent, since what it waited for before may have been the other
  side's doing.

Rows are known `LAG` late, so an interval ends that long before it is asked about. Only the application's answers
bear an instance's name: of a tier of proxies the probe can tell broken requests, and nothing else.

Ages: with a fresh baseline each instance's rows are taken from the same window after its own admission; without
one, from the same window of the clock. See `rollout/sides.py`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from math import ceil, isnan

from changeover.engine.metrics.ledger import LedgerReader
from changeover.engine.metrics.source import too_young
from changeover.model.guard import Condition
from changeover.ports import Unknown
from changeover.rollout.guard.cohorts import CohortMember, Cohorts
from changeover.rollout.guard.evaluate import Missing, Sample, Seen

LAG = 1.5
"""Seconds until a row is surely in the ledger: the probe writes once a second, and at once when a request broke."""
STALE = 10.0
"""Seconds without a new row after which a ledger counts as abandoned: well above LAG, and above the pause between two
rows of any load that could prove something."""


class ProbeSource:
    """Remembers nothing but the ledger, so one may serve any number of runs."""

    def __init__(self, ledger: LedgerReader, *, stale: float = STALE) -> None:
        self._ledger = ledger
        self._stale = stale

    async def begin(self, sides: Cohorts, at: float) -> None:
        """Nothing to take down: every row says when it was."""

    async def measure(self, key: str, condition: Condition, sides: Cohorts, at: float) -> Seen:
        return await asyncio.to_thread(self._measure, key, condition, sides, at)

    def _measure(self, key: str, condition: Condition, sides: Cohorts, at: float) -> Seen:
        with self._ledger.lock:
            try:
                self._read(at)
                match condition.measure:
                    case "broken_requests":
                        return self._broken(key, sides.since, at)
                    case "error_ratio":
                        return self._error_ratio(key, condition, sides, at)
                    case "latency":
                        return self._latency(key, condition, sides, at)
                    case _:
                        raise Unknown(f"the probe does not measure {condition.measure}")
            except Unknown as error:
                return Missing(at, key, str(error))

    def _read(self, at: float) -> None:
        self._ledger.read()
        age = at - self._ledger.newest
        if not self._ledger.newest:
            raise Unknown(f"the ledger {self._ledger.path} is empty")
        if abs(age) > self._stale:
            when = f"{age:.0f} s old" if age > 0 else f"{-age:.0f} s ahead of this clock"
            raise Unknown(f"the newest row of {self._ledger.path} is {when}: does the probe still run?")

    def _broken(self, key: str, since: float, at: float) -> Seen:
        ended = broken = 0
        for rows in self._ledger.rows.values():
            there = rows.within(since, float("inf"))
            ended += there.stop - there.start
            broken += sum(rows.broken[there])
        if not ended:
            raise Unknown("no request has ended since the step began")
        causes = f" ({self._ledger.causes(since)})" if broken else ""
        return Sample(at, key, broken, of=f"of {ended:,} requests{causes}")

    def _error_ratio(self, key: str, condition: Condition, sides: Cohorts, at: float) -> Seen:
        seen = [self._side(condition, sides, side, at) for side in _asked(condition, sides)]
        shares = [side.broken / side.ended for side in seen]
        nameless = self._nameless(at - LAG - condition.interval, at - LAG)
        if not condition.against_baseline:
            canary = seen[0]
            at_worst = (canary.broken + nameless) / (canary.ended + nameless)
            return Sample(at, key, shares[0], at_worst=at_worst, of=f"of {canary.ended:,} requests")
        if nameless:
            raise Unknown(f"{nameless} broken requests of the interval bear no name, so they cannot be compared")
        return Sample(at, key, shares[0], shares[1], of=f"of {seen[0].ended:,} and {seen[1].ended:,} requests")

    def _latency(self, key: str, condition: Condition, sides: Cohorts, at: float) -> Seen:
        seen = [self._side(condition, sides, side, at) for side in _asked(condition, sides)]
        values = [_percentile(side.ms, condition.percentile) for side in seen]
        of = " and ".join(f"{len(side.ms):,}" for side in seen)
        return Sample(at, key, values[0], values[1] if condition.against_baseline else None, of=f"of {of} answers")

    def _side(self, condition: Condition, sides: Cohorts, side: tuple[CohortMember, ...], at: float) -> _Side:
        """What ended in the window of each instance of a side. Raises Unknown where it is too little to go by."""
        compared, end, length = condition.against_baseline, at - LAG, condition.interval
        if compared and (why := too_young(sides, side, end, length)):
            raise Unknown(why)
        windows = sides.window(side, end, length) if compared else {one.name: (end - length, end) for one in side}
        found = _Side()
        for name, (start, until) in windows.items():
            if (rows := self._ledger.rows.get(name)) is not None:
                there = rows.within(start, until)
                found.ended += there.stop - there.start
                found.broken += sum(rows.broken[there])
                found.ms += [ms for ms in (rows.sent_ms if compared else rows.due_ms)[there] if not isnan(ms)]
        number = len(found.ms) if condition.measure == "latency" else found.ended
        if number < condition.requests_needed:
            who = "the canary" if side is sides.canary else "the baseline"
            names = ", ".join(one.name for one in side)
            raise Unknown(
                f"{number} answers of {who} ({names}) in {length:g} s, {condition.requests_needed} are needed"
            )
        return found

    def _nameless(self, start: float, end: float) -> int:
        rows = self._ledger.rows.get("")
        return 0 if rows is None else sum(rows.broken[rows.within(start, end)])


@dataclass
class _Side:
    ended: int = 0
    broken: int = 0
    ms: list[float] = field(default_factory=list)


def _asked(condition: Condition, sides: Cohorts) -> list[tuple[CohortMember, ...]]:
    return [sides.canary, sides.baseline] if condition.against_baseline else [sides.canary]


def _percentile(values: list[float], percentile: float) -> float:
    """The least value that this share of all does not exceed."""
    return sorted(values)[max(0, ceil(len(values) * percentile / 100) - 1)]
