"""What a source of samples is, and one look at everything that is due.

A source answers every question: with a sample, or with the reason why there is none. It never raises, never waits
longer than its own timeout, and never reports zero where it has no data.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from changeover.model.guard import Condition
from changeover.rollout.guard.cohorts import CohortMember, Cohorts
from changeover.rollout.guard.evaluate import GuardRun, Missing, Seen


class MetricSource(Protocol):
    """One source of samples; the `source` of a condition names it."""

    async def begin(self, cohorts: Cohorts, at: float) -> None:
        """A step begins: record the counters that later samples are counted from."""

    async def measure(self, key: str, condition: Condition, cohorts: Cohorts, at: float) -> Seen:
        """The sample of a condition at the time `at`; `key` names it in the guard run."""


Sources = Mapping[str, MetricSource]
"""Keyed by the name that conditions use."""


async def begin(run: GuardRun, sources: Sources, cohorts: Cohorts) -> None:
    """Begin a step in every source that a condition uses."""
    used = {condition.source for condition in run.conditions.values()}
    await asyncio.gather(*(source.begin(cohorts, run.began) for name, source in sources.items() if name in used))


async def look(run: GuardRun, sources: Sources, cohorts: Cohorts, at: float, *, comparing: bool = True) -> list[Seen]:
    """Query all due conditions at once; returns the samples in the order of the conditions. The caller gives them to
    `run`. `comparing`: whether instances of the old template serve; a comparison without them is not due."""

    async def ask(key: str) -> Seen:
        condition = run.conditions[key]
        if (source := sources.get(condition.source)) is None:
            return Missing(at, key, f"there is no source {condition.source}")
        if reason := _without_traffic(condition, cohorts):
            return Missing(at, key, reason)
        return await source.measure(key, condition, cohorts, at)

    due = [key for key in run.due(at) if comparing or not run.conditions[key].against_baseline]
    return list(await asyncio.gather(*map(ask, due)))


def _without_traffic(condition: Condition, cohorts: Cohorts) -> str:
    if condition.measure == "broken_requests":
        return ""  # counted for all instances together
    if not cohorts.canary:
        return f"no instance of {cohorts.template} gets traffic yet"
    if condition.against_baseline and not cohorts.baseline:
        return f"no instance of {cohorts.old_template} gets traffic to compare with"
    return ""


def too_young(cohorts: Cohorts, side: tuple[CohortMember, ...], at: float, length: float) -> str:
    """The reason why the window is not complete yet: it begins before an instance got traffic. Empty when it is."""
    for name, (start, _) in cohorts.window(side, at, length).items():
        admitted = next(one.admitted_at for one in side if one.name == name)
        if start < admitted - 1e-6:
            return f"{name} has had traffic for {at - admitted:.1f} s, the interval is {length:g} s"
    return ""
