"""Asks the guards of a tier for as long as it is rolled, and tells the machine what they make of it.

A new run begins with every step and every pause that ends. While a step analyses, its run may pass and so end the
step; otherwise the guards only watch, and can only object. Decides nothing: what a verdict means is the machine's
business, and what a sample means is the guard's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from changeover.engine.metrics.source import begin, look
from changeover.engine.runtime import Guarding
from changeover.rollout import events as on
from changeover.rollout.guard.cohorts import cohorts_of
from changeover.rollout.guard.evaluate import GuardRun
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.actions import State
from changeover.rollout.tier.machine import Machine

LOOK = 0.2
"""Seconds between two looks for a rollout, and for a condition that is due."""


async def guard(machine: Machine, by: Guarding, feed: Callable[[on.Event], object], now: Callable[[], float]) -> None:
    """Guard one tier until cancelled."""
    while True:
        await asyncio.sleep(LOOK)
        if _is_guarded(machine):
            await _guard_step(machine, by, feed, now)


def _is_guarded(machine: Machine) -> bool:
    course = machine.course
    going = course.previous is not None and machine.state in (State.ROLLING, State.HOLDING)
    return going and machine.fleet.count((Phase.ADMITTED,), course.goal) > 0


async def _guard_step(
    machine: Machine,
    by: Guarding,
    feed: Callable[[on.Event], object],
    now: Callable[[], float],
) -> None:
    """Ask until the step is over, somebody pauses it, or there is a verdict to tell."""
    course, began = machine.course, now()
    analyses = machine.step is not None and machine.step.kind == "analyse"
    sources = by.sources()
    # SciPy, which compares, takes most of a second to import: not in the loop that looks at drains.
    run = await asyncio.to_thread(GuardRun, by.guards, began, watch=not analyses)

    sides = cohorts_of(
        machine.fleet,
        template=course.goal,
        old_template=course.previous or "",
        step_began=began,
        before_first=course.before_first,
    )
    await begin(run, sources, sides)
    while _is_guarded(machine) and (machine.course.goal, machine.course.step) == (course.goal, course.step):
        for seen in await look(run, sources, sides, now()):
            verdict = run.take(seen)
            if verdict.state in ("failed", "inconclusive", "passed"):
                feed(on.GuardSaid(now(), verdict.state, verdict.reason))
                return
        await asyncio.sleep(LOOK)
