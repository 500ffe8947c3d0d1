"""The keeper: stays behind after `up`, replaces instances that died, and otherwise leaves the chain alone.

It looks without the lease, and takes the lease only when an instance died and no command holds it. It leaves an
unfinished rollout alone: it would have to guess which way the operator wants to go.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from changeover.engine.controller import Controller
from changeover.engine.journal.journal import Journal, LeaseHeld
from changeover.engine.journal.lease import KEEPER
from changeover.engine.runtime import ChainRuntime, ProgressListener
from changeover.kit.clock import Clock
from changeover.rollout.members.phases import Phase


@dataclass(frozen=True)
class KeeperTiming:
    """Seconds."""

    look: float = 0.5
    """Between two looks at the chain."""
    heal: float = 15.0
    """For one attempt; then the keeper gives back the lease until the next look. A template that does not start must
    not keep out the rollout that replaces it. The pause between starts is in the journal, and goes on."""


async def keep(
    runtime: ChainRuntime,
    journal: Journal,
    on_progress: ProgressListener,
    changed: Callable[[], bool],
    timing: KeeperTiming = KeeperTiming(),
) -> None:
    """Heal until the chain is down, or `changed` reports that its file is another one than `runtime` was made from."""
    while journal.is_up() and not changed():
        if needs_healing(runtime, journal) and not journal.rollouts(unfinished=True):
            try:
                journal.take_lease(KEEPER, Clock().now())
            except LeaseHeld:
                pass
            else:
                try:
                    await heal(runtime, journal, on_progress, timing)
                finally:
                    journal.release_lease()
        await asyncio.sleep(timing.look)


async def heal(
    runtime: ChainRuntime, journal: Journal, on_progress: ProgressListener, timing: KeeperTiming = KeeperTiming()
) -> None:
    """Replace what died, for a limited time. The lease must be held."""
    runtime.instances.clear()
    controller = Controller(runtime, journal, on_progress)
    async with controller.tending():
        await asyncio.sleep(timing.look)  # one look at every tier, so that the controller sees which instances died
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timing.heal):
                await controller.settle()


def needs_healing(runtime: ChainRuntime, journal: Journal) -> bool:
    """Whether the load balancer or an instance is missing. Asks processes, because the journal may be out of date."""
    if not runtime.platform.is_open():
        return True
    for tier in runtime.chain.tiers:
        fleet = journal.fleet(tier.name)
        if fleet.count((Phase.ADMITTED,)) < tier.size:
            return journal.tier(tier.name) is not None
        for member in fleet:
            instance = runtime.platform.recorded(member.name)
            if instance is None or runtime.platform.gone(instance) is not None:
                return True
    return False
