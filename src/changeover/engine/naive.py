"""The control: replace instances the way a plain restart does. It must break requests, or the prober proves nothing.

Stop, then start in the same place: no lame duck, no removal from a router, no drain, one instance after the other. TERM
first, as init systems do by default, and KILL after STOP_TIMEOUT.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from signal import SIGTERM
from typing import Protocol

from changeover.engine.journal.journal import Journal
from changeover.engine.runtime import ChainRuntime, Progress, ProgressListener
from changeover.kit.clock import Clock
from changeover.model.chain import Tier
from changeover.model.errors import fail
from changeover.model.instance import Instance

STOP_TIMEOUT = 5.0
"""Seconds between TERM and KILL: what Debian's nginx unit gives."""
START_TIMEOUT = 30.0


class Restarts(Protocol):
    """A platform whose instances can be started again where they stood."""

    async def start(self, instance: Instance, tier: Tier) -> Instance: ...


async def restart_tier(
    world: ChainRuntime, platform: Restarts, journal: Journal, tier: Tier, goal: str, tell: ProgressListener
) -> None:
    """Restart every instance of a tier with another template, in place. Raises ChangeoverError if one stays down."""
    clock = Clock()
    course = journal.course(tier.name)
    row = journal.begin_rollout(clock.now(), tier.name, course.goal if course else "", goal)
    for member in journal.fleet(tier.name):
        instance = world.platform.recorded(member.name)
        if instance is None:
            continue
        tell(Progress(clock.now(), tier.name, "stopped and started again", instance.name))
        await _stop(world, instance)
        instance = await platform.start(replace(instance, template=goal), tier)
        async with asyncio.timeout(START_TIMEOUT):
            while not await world.hops[tier.name].ready(instance):
                if (reason := world.platform.gone(instance)) is not None:
                    raise fail(f"{instance.name} did not come back: {reason}")
                await asyncio.sleep(0.05)
        member.template = goal
        journal.write_member(tier.name, member)
    if course is not None:
        journal.write_step(clock.now(), tier.name, replace(course, goal=goal), (), (), ())
    journal.end_rollout(row.id, clock.now(), "completed", "restarted in place")


async def _stop(world: ChainRuntime, instance: Instance) -> None:
    await world.platform.stop(instance, SIGTERM)
    try:
        async with asyncio.timeout(STOP_TIMEOUT):
            while world.platform.gone(instance) is None:
                await asyncio.sleep(0.02)
    except TimeoutError:
        pass
    await world.platform.kill(instance)
