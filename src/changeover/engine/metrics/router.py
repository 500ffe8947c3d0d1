"""Samples from the routers' own counters: exact about instances, but blind to retries that spare the client.

A router counts attempts. A request that failed on one instance and was repeated on another broke for the router and
for no client, so these numbers may exceed the probe's. Counters only grow; one that went back, or a router that was
there before and does not answer now, leaves a gap, and a gap is missing, not zero.

Ages: counters give differences between two looks and no times, so canary and baseline are compared over
the same window of the clock, also where the baseline is fresh.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from changeover.model.guard import Condition, RequestCounts
from changeover.ports import Unknown
from changeover.rollout.guard.cohorts import Cohorts
from changeover.rollout.guard.evaluate import Missing, Sample, Seen

ByNode = Mapping[str, Mapping[str, RequestCounts]]
"""Router -> instance -> its counters."""

ReadCounts = Callable[[], Awaitable[ByNode]]
"""Queries every router. Raises Unknown when one does not respond."""


class RouterSource:
    """One for each GuardRun: it holds the counters at the start of the step and at the last sample of each condition.

    When an instance leaves the routers, its counts since the last look are lost: less than one interval.
    """

    def __init__(self, read: ReadCounts) -> None:
        self._read = read
        self._at_start: ByNode | None = None
        self._unknown = "there were no counters when the step began"
        self._last: dict[str, ByNode] = {}
        self._since_start: dict[str, RequestCounts] = {}

    async def begin(self, cohorts: Cohorts, at: float) -> None:
        self._last.clear()
        self._since_start.clear()
        try:
            self._at_start = await self._read()
        except Unknown as error:
            self._at_start, self._unknown = None, f"the counters at the beginning of the step are not known: {error}"

    async def measure(self, key: str, condition: Condition, cohorts: Cohorts, at: float) -> Seen:
        try:
            now = await self._read()
            before, self._last[key] = self._last.get(key, self._at_start), now
            if before is None:
                raise Unknown(self._unknown)
            since = _difference(before, now)
        except Unknown as error:
            return Missing(at, key, str(error))
        if condition.measure == "broken_requests":
            return self._broken(key, since, at)
        return _ratio(key, condition, cohorts, since, at)

    def _broken(self, key: str, since: Mapping[str, RequestCounts], at: float) -> Seen:
        so_far = _sum([self._since_start.get(key, _NONE), *since.values()])
        self._since_start[key] = so_far
        if not so_far.ended:
            return Missing(at, key, "the routers have passed on no request since the step began")
        return Sample(at, key, so_far.broken, of=f"of {so_far.ended:,} attempts of the routers")


def _ratio(key: str, condition: Condition, cohorts: Cohorts, since: Mapping[str, RequestCounts], at: float) -> Seen:
    needed = condition.requests_needed
    queried = {"canary": cohorts.canary, **({"baseline": cohorts.baseline} if condition.against_baseline else {})}
    found = {side: _sum(since.get(one.name, _NONE) for one in members) for side, members in queried.items()}
    for side, counts in found.items():
        if counts.ended < needed:
            return Missing(at, key, f"{counts.ended} requests to the {side} in this interval, {needed} are needed")
    canary, baseline = found["canary"], found.get("baseline")
    return Sample(
        at,
        key,
        canary.broken / canary.ended,
        None if baseline is None else baseline.broken / baseline.ended,
        of=f"of {canary.ended:,} attempts of the routers",
    )


_NONE = RequestCounts(0, 0)


def _sum(counts: Iterable[RequestCounts]) -> RequestCounts:
    every = list(counts)
    return RequestCounts(sum(one.ok for one in every), sum(one.broken for one in every))


def _difference(before: ByNode, now: ByNode) -> dict[str, RequestCounts]:
    """The counts in between, over all routers. A new router or instance began at zero."""
    if vanished := sorted(before.keys() - now.keys()):
        raise Unknown(f"{vanished[0]} counted before and does not respond any more")
    total: dict[str, RequestCounts] = {}
    for node, instances in now.items():
        for instance, counts in instances.items():
            old = before.get(node, {}).get(instance, _NONE)
            if counts.ok < old.ok or counts.broken < old.broken:
                raise Unknown(f"{node} reset its counters of {instance}")
            new = RequestCounts(counts.ok - old.ok, counts.broken - old.broken)
            total[instance] = _sum((total.get(instance, _NONE), new))
    return total
