"""Runs the guards of a tier for as long as it is rolled, and feeds their verdicts to the machine.

A guard run begins with every step, and with every pause that ends. No step passes before a request has reached its new
instances. While a step analyses, its run may pass and so end
the step; otherwise the guards only watch, and can only object. Decides nothing: the machine decides what a verdict
means, and the guard what a sample means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from changeover.engine.metrics.source import begin, look
from changeover.engine.runtime import Guarding
from changeover.engine.timing import EngineTiming
from changeover.rollout import events as on
from changeover.rollout.guard.cohorts import cohorts_of
from changeover.rollout.guard.evaluate import GuardRun, Seen
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.machine import Machine
from changeover.rollout.tier.state import Rollout

TierFeed = Callable[[on.Event], object]
GuardListener = Callable[[GuardRun, Seen], None]
"""Gets the run after each of its samples, and that sample, for metrics."""


async def guard(
    machine: Machine,
    by: Guarding,
    feed: TierFeed,
    on_sample: GuardListener,
    now: Callable[[], float],
    timing: EngineTiming,
) -> None:
    """Guard one tier until cancelled."""
    while True:
        await asyncio.sleep(timing.guard_look)
        if (rollout := _guarded(machine)) is not None:
            await _guard_step(machine, rollout, by, feed, on_sample, now, timing)


def _guarded(machine: Machine) -> Rollout | None:
    """The rollout, if there are new instances and old ones to compare, and it is not stopped."""
    tier = machine.tier
    if tier.rollout is None or tier.previous is None or tier.stopped:
        return None
    return tier.rollout if machine.fleet.count((Phase.ADMITTED,), tier.goal) > 0 else None


async def _guard_step(
    machine: Machine,
    rollout: Rollout,
    by: Guarding,
    feed: TierFeed,
    on_sample: GuardListener,
    now: Callable[[], float],
    timing: EngineTiming,
) -> None:
    """Take samples until the step is over, the rollout is stopped, or there is a verdict."""
    goal, step, began = machine.tier.goal, machine.step_key, now()
    analyses = machine.step is not None and machine.step.kind == "analyse"
    sources = by.sources()
    # SciPy, which compares, takes most of a second to import: not in the loop that looks at drains.
    run = await asyncio.to_thread(GuardRun, by.guards, began, watch=not analyses)

    cohorts = cohorts_of(
        machine.fleet,
        template=goal,
        old_template=rollout.previous or "",
        step_began=began,
        serial_before=rollout.serial_before,
    )
    await begin(run, sources, cohorts)
    witness, missing = by.witness(), None
    await witness.begin()
    while _guarded(machine) is not None and (machine.tier.goal, machine.step_key) == (goal, step):
        if missing != "" and (why := await witness.missing(cohorts)) != missing:
            missing = why
            feed(on.TrafficSeen(now(), missing))
        comparing = machine.fleet.count((Phase.ADMITTED,), other_than=goal) > 0
        for sample in await look(run, sources, cohorts, now(), comparing=comparing):
            verdict = run.take(sample)
            on_sample(run, sample)
            if verdict.state == "passed" and missing:
                # The old instances alone were measured. The next round begins at once; time ends the step.
                run = GuardRun(by.guards, now(), watch=False)
                break
            if verdict.state in ("failed", "inconclusive", "passed"):
                feed(on.GuardJudged(now(), verdict.state, verdict.reason))
                return
        await asyncio.sleep(timing.guard_look)
