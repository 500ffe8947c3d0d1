"""Samples from the routers' own counters: exact as to which instance broke what, blind to what clients were spared.

A router counts attempts. A request that failed on one instance and was repeated on another broke for the router and
for no client, so these numbers may exceed the probe's. Counters only grow; one that went back, or a router that was
there before and does not answer now, leaves a gap, and a gap is missing, not zero.

Ages: counters tell differences between two looks and not what was when, so canary and baseline are compared over
the same window of the clock, also where the baseline is fresh.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from changeover.model.guard import Condition, RequestCounts
from changeover.ports import Unknown
from changeover.rollout.guard.cohorts import Cohorts
from changeover.rollout.guard.evaluate import Missing, Sample, Seen

ByNode = Mapping[str, Mapping[str, RequestCounts]]
"""Router -> instance -> what it counted."""

ReadCounts = Callable[[], Awaitable[ByNode]]
"""Asks every router. Raises Unknown when one does not answer."""


class RouterSource:
    """One for each GuardRun: it remembers what was counted when the step began, and at each condition's last sample.

    What an instance did between the last look and the moment it was taken out of the routers is lost with its counters:
    less than one interval.
    """

    def __init__(self, read: ReadCounts) -> None:
        self._read = read
        self._at_start: ByNode | None = None
        self._unknown = "nothing was counted as the step began"
        self._last: dict[str, ByNode] = {}
        self._since_start: dict[str, RequestCounts] = {}

    async def begin(self, sides: Cohorts, at: float) -> None:
        self._last.clear()
        self._since_start.clear()
        try:
            self._at_start = await self._read()
        except Unknown as error:
            self._at_start, self._unknown = None, f"what was counted before is not known: {error}"

    async def measure(self, key: str, condition: Condition, sides: Cohorts, at: float) -> Seen:
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
        return _ratio(key, condition, sides, since, at)

    def _broken(self, key: str, since: Mapping[str, RequestCounts], at: float) -> Seen:
        so_far = _sum([self._since_start.get(key, _NONE), *since.values()])
        self._since_start[key] = so_far
        if not so_far.ended:
            return Missing(at, key, "the routers have passed on no request since the step began")
        return Sample(at, key, so_far.broken, of=f"of {so_far.ended:,} attempts of the routers")


def _ratio(key: str, condition: Condition, sides: Cohorts, since: Mapping[str, RequestCounts], at: float) -> Seen:
    needed = condition.requests_needed
    asked = {"canary": sides.canary, **({"baseline": sides.baseline} if condition.against_baseline else {})}
    found = {side: _sum(since.get(one.name, _NONE) for one in members) for side, members in asked.items()}
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
    """What was counted in between, over all routers. A router or an instance that is new began at zero."""
    if vanished := sorted(before.keys() - now.keys()):
        raise Unknown(f"{vanished[0]} counted before and does not answer any more")
    total: dict[str, RequestCounts] = {}
    for node, instances in now.items():
        for instance, counts in instances.items():
            old = before.get(node, {}).get(instance, _NONE)
            if counts.ok < old.ok or counts.broken < old.broken:
                raise Unknown(f"{node} began to count anew for {instance}")
            new = RequestCounts(counts.ok - old.ok, counts.broken - old.broken)
            total[instance] = _sum((total.get(instance, _NONE), new))
    return total
