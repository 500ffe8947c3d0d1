"""What a source of samples is, and one look at everything that is due.

A source answers every question: with a sample, or with the reason why there is none. It never raises, never waits
longer than its own timeout, and never lets nothing pass for zero.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from changeover.model.guard import Condition
from changeover.rollout.guard.cohorts import CohortMember, Cohorts
from changeover.rollout.guard.evaluate import GuardRun, Missing, Seen


class MetricSource(Protocol):
    """Whoever a condition's `source` names."""

    async def begin(self, sides: Cohorts, at: float) -> None:
        """A step begins: take down what later samples are counted from."""

    async def measure(self, key: str, condition: Condition, sides: Cohorts, at: float) -> Seen:
        """The answer to a condition as of `at`, to be handed in under `key`."""


Sources = Mapping[str, MetricSource]
"""By the name a condition calls them."""


async def begin(run: GuardRun, sources: Sources, sides: Cohorts) -> None:
    """Tell every source in use that the step begins."""
    used = {condition.source for condition in run.conditions.values()}
    await asyncio.gather(*(source.begin(sides, run.began) for name, source in sources.items() if name in used))


async def look(run: GuardRun, sources: Sources, sides: Cohorts, at: float) -> list[Seen]:
    """Ask what is due, all at once, and return the answers in the order of the conditions; `run` has not taken them."""

    async def ask(key: str) -> Seen:
        condition = run.conditions[key]
        if (source := sources.get(condition.source)) is None:
            return Missing(at, key, f"there is no {condition.source} to ask")
        if why := _nobody(condition, sides):
            return Missing(at, key, why)
        return await source.measure(key, condition, sides, at)

    return list(await asyncio.gather(*map(ask, run.due(at))))


def _nobody(condition: Condition, sides: Cohorts) -> str:
    if condition.measure == "broken_requests":
        return ""  # whoever broke them
    if not sides.canary:
        return f"no instance of {sides.template} gets traffic yet"
    if condition.against_baseline and not sides.baseline:
        return f"no instance of {sides.old_template} gets traffic to compare with"
    return ""


def too_young(sides: Cohorts, side: tuple[CohortMember, ...], at: float, length: float) -> str:
    """Why the window cannot be looked at yet, if it begins before an instance got traffic."""
    for name, (start, _) in sides.window(side, at, length).items():
        admitted = next(one.admitted_at for one in side if one.name == name)
        if start < admitted - 1e-6:
            return f"{name} has had traffic for {at - admitted:.1f} s, the interval is {length:g} s"
    return ""
