"""Whether requests reach the new instances of a step. A step without any proves nothing, however good its samples are.

Two witnesses: what the tier's routers have passed to each instance, and the probe's rows that name an instance. The
routers see every client, so where they count, they decide. Refuses to take silence for traffic: where no witness can
answer, there was none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from changeover.engine.metrics.ledger import AS_TEMPLATES, LedgerReader, Versions
from changeover.ports import Unknown
from changeover.rollout.guard.cohorts import Cohorts

ReadTotals = Callable[[], Awaitable[Mapping[str, int]]]
"""Asks every router of a tier for what it has passed to each instance. Raises Unknown."""


class TrafficWitness:
    """One for each step of a rollout. `totals` None: the routers do not count. `ledger` None: no probe has run."""

    def __init__(
        self, totals: ReadTotals | None, ledger: LedgerReader | None, versions: Versions = AS_TEMPLATES
    ) -> None:
        self._totals = totals
        self._ledger = ledger
        self._versions = versions
        self._before: Mapping[str, int] | None = None
        self._seen = False

    async def begin(self) -> None:
        """The step begins: what was passed before does not count."""
        if self._totals is not None:
            self._before = await _asked(self._totals)

    async def missing(self, cohorts: Cohorts) -> str:
        """Why the step cannot pass: no request reached its new instances. Empty as soon as one did."""
        if self._seen:
            return ""
        names = [one.name for one in cohorts.canary]
        if not names:
            return f"no instance of {cohorts.template} gets traffic yet"
        counted = await self._counted(names)
        if counted is None:
            counted = await asyncio.to_thread(self._in_ledger, names, cohorts)
        self._seen = bool(counted)
        if counted:
            return ""
        if counted is None:
            return (
                f"nothing shows whether requests reach {', '.join(names)}: the routers do not count them, and no "
                "response that the probe got in this step names its instance or a version of its own"
            )
        return f"no request reached {', '.join(names)} in this step"

    async def _counted(self, names: list[str]) -> int | None:
        """What the routers passed to these instances since the beginning; None where they do not know."""
        if self._totals is None or (now := await _asked(self._totals)) is None:
            return None
        if self._before is None:
            self._before = now
        return sum(max(0, now.get(name, 0) - self._before.get(name, 0)) for name in names)

    def _in_ledger(self, names: list[str], cohorts: Cohorts) -> int | None:
        """Rows of these instances, or of their version where that is new; None where no row names either."""
        if self._ledger is None:
            return None
        with self._ledger.lock:
            try:
                self._ledger.read()
            except Unknown:
                return None
            rows_of, wanted = {name: rows for name, rows in self._ledger.rows.items() if name}, names
            new, old = map(self._versions.of, (cohorts.template, cohorts.old_template))
            if not rows_of and new != old:
                rows_of, wanted = self._ledger.by_version, [new]
            found = {name: rows.within(cohorts.since, float("inf")) for name, rows in rows_of.items()}
        ended = {name: there.stop - there.start for name, there in found.items()}
        return sum(ended.get(name, 0) for name in wanted) if any(ended.values()) else None


async def _asked(totals: ReadTotals) -> Mapping[str, int] | None:
    try:
        return await totals()
    except Unknown:
        return None
