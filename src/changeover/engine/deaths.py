"""What the death of an instance cost: its routers' counts of broken requests, against those of the last look before it.

Refuses to take a missing answer for zero: what no router counts, or none counted before the death, is unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace

from changeover.engine.timing import EngineTiming
from changeover.model.instance import DeathCost
from changeover.ports import Broken, CountsBroken, Router, Unknown

Counts = Mapping[str, Broken]
"""What each source counted of one instance."""


class DeathCosts:
    """Compares what the routers of one tier counted before a death and after it."""

    def __init__(self, router: Router, now: Callable[[], float], timing: EngineTiming) -> None:
        self._router = router
        self._now = now
        self._timing = timing
        self._looked = float("-inf")
        self._last: dict[str, Counts] = {}
        self._before: dict[str, Counts] = {}
        """Of the look before the last one: requests break before the platform sees that the instance has ended."""

    async def look(self, names: frozenset[str]) -> None:
        """Remember the counts of the instances that exist. Where an answer is missing, the last one stays."""
        now = self._now()
        if not isinstance(self._router, CountsBroken) or now - self._looked < self._timing.serving_look:
            return
        self._looked = now
        with contextlib.suppress(Unknown):
            found = dict(await self._router.broken(names)) if names else {}
            self._before, self._last = {**found, **self._last}, found

    async def of(self, name: str) -> DeathCost:
        """What the death of that instance cost. Waits until its routers have seen its connections end."""
        if not isinstance(self._router, CountsBroken):
            return DeathCost(unknown="its routers do not count requests that break")
        began, last = self._now(), None
        while True:
            try:
                found = await self._router.broken(frozenset([name]))
            except Unknown as error:
                return DeathCost(unknown=str(error))
            settled = found == last and not any(one.open for one in found[name].values() if one.connections is None)
            if settled or self._now() - began >= self._timing.settled_after:
                break
            last = found
            await asyncio.sleep(self._timing.settle_look)
        cost = cost_of(self._before.get(name), found[name])
        for looks in (self._before, self._last):
            looks.update({other: _without(counts, found[name]) for other, counts in looks.items() if other != name})
        return cost


def _without(before: Counts, counted: Counts) -> Counts:
    """A source that counts for the whole tier: what broke with one instance did not break with the next."""
    return {
        source: replace(one, ended=counted[source].ended) if source in counted else one
        for source, one in before.items()
    }


def cost_of(before: Counts | None, after: Counts) -> DeathCost:
    """The difference of the counts. `before` None: no look at the instance came before its death."""
    lost = sorted((before or {}).keys() - after.keys())
    broken, unknown = 0, [f"{source} has ended with its counts" for source in lost]
    for source, now in after.items():
        was = (before or {}).get(source, Broken(0, 0, 0))
        if now.incomplete:
            unknown.append(f"{source} {now.incomplete}")
        if now.ended < was.ended:
            unknown.append(f"{source} began to count anew")
        elif before is None and now.ended:
            unknown.append(f"{source} counts {now.ended} broken so far, and was not asked before")
        else:
            broken += now.ended - was.ended
        if now.connections is None:
            unclear, why = now.open, f"{source} still holds {{}}"
        else:
            unclear = was.open + now.connections - (was.connections or 0) - (now.ended - was.ended)
            why = f"{source} passes bytes, and cannot tell whether {{}} carried a request"
        if unclear > 0:
            unknown.append(why.format(f"{unclear} connection{'s' * (unclear > 1)}"))
    return DeathCost(broken, "; ".join(unknown))
