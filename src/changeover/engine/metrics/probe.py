"""Samples from the probe: the requests of clients, row by row, as its ledger grows.

- `broken_requests`: every row since the step began whose request failed, of all kinds, with or without a response.
- `error_ratio`: of the rows that name a canary instance. A broken request without a name may belong to any instance:
  against a threshold the sample holds the worst case, and a comparison has no sample.
- `latency`: of GETs, the failed ones included. Against a threshold it counts from the time when a request was due, as
  a client waits; in a comparison from the time when it was sent, since the other cohort may have caused the wait
  before.

Rows appear in the ledger `ProbeTiming.lag` late, so an interval ends that long before the query. Only responses of the
application name an instance: of a tier of proxies the probe measures broken requests, and nothing else. Where none
names its instance, the version that responses name separates the cohorts.

Ages: with a fresh baseline the rows of each instance come from the same window after its own admission; without one,
from the same window of the clock. See `rollout/guard/cohorts.py`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from math import ceil, isnan

from changeover.engine.metrics.ledger import AS_TEMPLATES, LedgerReader, Rows, Versions
from changeover.engine.metrics.source import too_young
from changeover.model.guard import Condition
from changeover.ports import Unknown
from changeover.rollout.guard.cohorts import CohortMember, Cohorts
from changeover.rollout.guard.evaluate import Missing, Sample, Seen


@dataclass(frozen=True)
class ProbeTiming:
    """Seconds."""

    lag: float = 1.5
    """Until a row is in the ledger: the probe writes once a second, and at once when a request broke."""
    stale: float = 10.0
    """Without a new row, until a ledger counts as abandoned: well above `lag`, and above the pause between two rows of
    any load that could prove something."""


class ProbeSource:
    """Holds nothing but the ledger, so one serves any number of guard runs.

    `versions`: those that responses name.
    """

    def __init__(
        self, ledger: LedgerReader, timing: ProbeTiming = ProbeTiming(), versions: Versions = AS_TEMPLATES
    ) -> None:
        self._ledger = ledger
        self._timing = timing
        self._versions = versions

    async def begin(self, cohorts: Cohorts, at: float) -> None:
        """Records nothing: every row has its time."""

    async def measure(self, key: str, condition: Condition, cohorts: Cohorts, at: float) -> Seen:
        return await asyncio.to_thread(self._measure, key, condition, cohorts, at)

    def _measure(self, key: str, condition: Condition, cohorts: Cohorts, at: float) -> Seen:
        with self._ledger.lock:
            try:
                self._read(at)
                match condition.measure:
                    case "broken_requests":
                        return self._broken(key, cohorts.since, at)
                    case "error_ratio":
                        return self._error_ratio(key, condition, cohorts, at)
                    case "latency":
                        return self._latency(key, condition, cohorts, at)
                    case _:
                        raise Unknown(f"the probe does not measure {condition.measure}")
            except Unknown as error:
                return Missing(at, key, str(error))

    def _read(self, at: float) -> None:
        self._ledger.read()
        age = at - self._ledger.newest
        if not self._ledger.newest:
            raise Unknown(f"the ledger {self._ledger.path} is empty")
        if abs(age) > self._timing.stale:
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

    def _error_ratio(self, key: str, condition: Condition, cohorts: Cohorts, at: float) -> Seen:
        seen = [self._side(condition, cohorts, side, at) for side in _queried(condition, cohorts)]
        shares = [side.broken / side.ended for side in seen]
        nameless = self._nameless(at - self._timing.lag - condition.interval, at - self._timing.lag)
        if not condition.against_baseline:
            canary = seen[0]
            at_worst = (canary.broken + nameless) / (canary.ended + nameless)
            return Sample(at, key, shares[0], at_worst=at_worst, of=f"of {canary.ended:,} requests")
        if nameless:
            raise Unknown(f"{nameless} broken requests of the interval name no instance, so they cannot be compared")
        return Sample(at, key, shares[0], shares[1], of=f"of {seen[0].ended:,} and {seen[1].ended:,} requests")

    def _latency(self, key: str, condition: Condition, cohorts: Cohorts, at: float) -> Seen:
        seen = [self._side(condition, cohorts, side, at) for side in _queried(condition, cohorts)]
        values = [_percentile(side.ms, condition.percentile) for side in seen]
        of = " and ".join(f"{len(side.ms):,}" for side in seen)
        return Sample(at, key, values[0], values[1] if condition.against_baseline else None, of=f"of {of} answers")

    def _side(self, condition: Condition, cohorts: Cohorts, side: tuple[CohortMember, ...], at: float) -> _CohortRows:
        """The requests that ended in the window of each instance of a cohort. Raises Unknown where they are too few."""
        compared, end, length = condition.against_baseline, at - self._timing.lag, condition.interval
        if compared and (reason := too_young(cohorts, side, end, length)):
            raise Unknown(reason)
        windows = cohorts.window(side, end, length) if compared else {one.name: (end - length, end) for one in side}
        read = [(self._ledger.rows.get(name), window) for name, window in windows.items()]
        if not self._ledger.names_instances:
            read = [(self._of_version(cohorts, side), (end - length, end))]
        found = _CohortRows()
        for rows, window in read:
            if rows is not None:
                there = rows.within(*window)
                found.ended += there.stop - there.start
                found.broken += sum(rows.broken[there])
                found.ms += [ms for ms in (rows.sent_ms if compared else rows.due_ms)[there] if not isnan(ms)]
        number = len(found.ms) if condition.measure == "latency" else found.ended
        if number < condition.requests_needed:
            cohort = "the canary" if side is cohorts.canary else "the baseline"
            names = ", ".join(one.name for one in side)
            raise Unknown(
                f"{number} answers of {cohort} ({names}) in {length:g} s, {condition.requests_needed} are needed"
            )
        return found

    def _of_version(self, cohorts: Cohorts, side: tuple[CohortMember, ...]) -> Rows | None:
        """The rows of a cohort by its version, for an application whose responses name no instance. Raises Unknown."""
        if not self._ledger.by_version:
            raise Unknown(
                "no response names its instance or its version. `probe` of the chain file says where it stands: "
                "instance_header, version_header or version_pattern"
            )
        if cohorts.fresh:
            raise Unknown("no response names its instance, and the fresh baseline has the version of the old instances")
        new, old = map(self._versions.of, (cohorts.template, cohorts.old_template))
        if new == old:
            raise Unknown(f"no response names its instance, and old and new instances have the version {new}")
        return self._ledger.by_version.get(new if side is cohorts.canary else old)

    def _nameless(self, start: float, end: float) -> int:
        """Broken requests that may be of any cohort."""
        versions = () if self._ledger.names_instances else self._ledger.by_version.values()
        unnamed = self._ledger.rows.get("", Rows())
        return sum(unnamed.broken[unnamed.within(start, end)]) - sum(
            sum(rows.broken[rows.within(start, end)]) for rows in versions
        )


@dataclass
class _CohortRows:
    ended: int = 0
    broken: int = 0
    ms: list[float] = field(default_factory=list)


def _queried(condition: Condition, cohorts: Cohorts) -> list[tuple[CohortMember, ...]]:
    return [cohorts.canary, cohorts.baseline] if condition.against_baseline else [cohorts.canary]


def _percentile(values: list[float], percentile: float) -> float:
    """The least value that this share of all values does not exceed."""
    return sorted(values)[max(0, ceil(len(values) * percentile / 100) - 1)]
