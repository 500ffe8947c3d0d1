"""The control of the demo: replace instances by plain restarts. It must break requests, or the probe proves nothing.

Stop, then start in the same place: no lame duck, no removal from a router, no drain, one instance after the other. TERM
first, as init systems do by default, and KILL after a timeout.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from signal import SIGTERM
from typing import Protocol

from changeover.engine.journal.journal import Journal
from changeover.engine.journal.records import LogLine
from changeover.engine.runtime import ChainRuntime, Progress, ProgressListener
from changeover.kit.clock import Clock
from changeover.model.chain import Tier
from changeover.model.errors import fail
from changeover.model.instance import Instance


@dataclass(frozen=True)
class RestartTiming:
    """Seconds."""

    stop: float = 5.0
    """Between TERM and KILL, as in Debian's unit of nginx."""
    start: float = 30.0
    """Until an instance must be ready again."""
    look: float = 0.02
    """Between two looks at an instance that stops or starts."""


class Restarts(Protocol):
    """A platform whose instances can be started again where they stood."""

    async def start(self, instance: Instance, tier: Tier) -> Instance: ...


async def restart_tier(
    runtime: ChainRuntime,
    platform: Restarts,
    journal: Journal,
    tier: Tier,
    goal: str,
    on_progress: ProgressListener,
    timing: RestartTiming = RestartTiming(),
) -> None:
    """Restart every instance of a tier with another template, in place. Raises ChangeoverError if one stays down."""
    clock = Clock()
    state = journal.tier(tier.name)
    row = journal.begin_rollout(clock.now(), tier.name, state.goal if state else "", goal)
    for member in journal.fleet(tier.name):
        instance = runtime.platform.recorded(member.name)
        if instance is None:
            continue
        on_progress(Progress(clock.now(), tier.name, "stopped and started again", instance.name))
        journal.write_line(clock.now(), row.id, tier.name, _step("admitted -> stopping", member.name))
        await _stop(runtime, instance, timing)
        instance = await platform.start(replace(instance, template=goal), tier)
        async with asyncio.timeout(timing.start):
            while await runtime.hops[tier.name].not_ready(instance, tier.health.timeout):
                if (reason := (await runtime.platform.gone([instance])).get(instance.name)) is not None:
                    raise fail(f"{instance.name} did not start again: {reason}")
                await asyncio.sleep(timing.look)
        journal.write_line(clock.now(), row.id, tier.name, _step("stopping -> admitted", member.name))
        member.template = goal
        journal.write_member(tier.name, member)
    if state is not None:
        journal.write_step(clock.now(), tier.name, replace(state, goal=goal), (), ())
    journal.end_rollout(row.id, clock.now(), "completed", "restarted in place")


def _step(phases: str, name: str) -> LogLine:
    """No steps of the phase table: a plain restart takes none of them."""
    return LogLine("phase", f"{phases}: restarted in place", name)


async def _stop(runtime: ChainRuntime, instance: Instance, timing: RestartTiming) -> None:
    await runtime.platform.stop(instance, SIGTERM, "leader")
    try:
        async with asyncio.timeout(timing.stop):
            while not await runtime.platform.gone([instance]):
                await asyncio.sleep(timing.look)
    except TimeoutError:
        pass
    await runtime.platform.kill(instance)
