"""The keeper: stays behind after `up`, replaces instances that died, and otherwise leaves the chain alone.

It looks without the lease and takes it only when something died and nobody else is at work. A rollout that nobody
finished is not its business: it would have to guess which way to go.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from changeover.engine.controller import Controller
from changeover.engine.journal.journal import Journal, LeaseHeld
from changeover.engine.journal.lease import KEEPER
from changeover.engine.runtime import ChainRuntime, ProgressListener
from changeover.kit.clock import Clock
from changeover.rollout.members.phases import Phase

LOOK = 0.5
"""Seconds between two looks."""
HEAL_TIME = 15.0
"""Seconds until the lease is given up between two attempts: a template that cannot be healed must not keep out the
rollout that would cure it. The pause between attempts is in the journal, and goes on."""


async def keep(world: ChainRuntime, journal: Journal, tell: ProgressListener, changed: Callable[[], bool]) -> None:
    """Heal for as long as the chain is up and still the one that `world` was made from."""
    while journal.is_up() and not changed():
        if _something_died(world, journal) and not journal.rollouts(unfinished=True):
            try:
                journal.take_lease(KEEPER, Clock().now())
            except LeaseHeld:
                pass
            else:
                try:
                    await _heal(world, journal, tell)
                finally:
                    journal.release_lease()
        await asyncio.sleep(LOOK)


async def _heal(world: ChainRuntime, journal: Journal, tell: ProgressListener) -> None:
    world.instances.clear()
    controller = Controller(world, journal, tell)
    async with controller.tending():
        await asyncio.sleep(LOOK)  # one look of every tier, so that what died is known to have died
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEAL_TIME):
                await controller.settle()


def _something_died(world: ChainRuntime, journal: Journal) -> bool:
    if not world.platform.is_open():
        return True
    for tier in world.chain.tiers:
        fleet = journal.fleet(tier.name)
        if fleet.count((Phase.ADMITTED,)) < tier.size:
            return journal.course(tier.name) is not None
        for member in fleet:
            instance = world.platform.recorded(member.name)
            if instance is None or world.platform.gone(instance) is not None:
                return True
    return False
