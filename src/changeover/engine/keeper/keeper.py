"""The keeper: stays behind after `up`, replaces instances that died, and otherwise leaves the chain alone.

It looks without the lease, and takes the lease only when an instance died and no command holds it. A rollout whose
controller has ended is paused when it must be healed: the operator decides which way it goes.
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
from changeover.rollout.tier.actions import Action


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
        abandoned = bool(journal.rollouts(unfinished=True))
        if _something_died(runtime, journal) if abandoned else needs_healing(runtime, journal):
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
    """Replace what died, for a limited time. Pauses a rollout that is not finished. The lease must be held."""
    runtime.instances.clear()
    controller = Controller(runtime, journal, on_progress)
    async with controller.tending():
        moving = [tier for tier in controller.machines if controller.is_moving(tier)]
        for tier in moving:
            controller.request(tier, Action.PAUSE, "the keeper")  # refused by an undo, which goes on
        await asyncio.sleep(timing.look)  # one look at every tier, so that the controller sees which instances died
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timing.heal):
                if moving:
                    await _until_replaced(runtime, journal, controller, timing)
                else:
                    await controller.settle()


async def _until_replaced(
    runtime: ChainRuntime, journal: Journal, controller: Controller, timing: KeeperTiming
) -> None:
    """A paused rollout never settles: wait until no dead instance is in service and none is being started."""
    starting = (Phase.CREATING, Phase.WARMING)
    while _something_died(runtime, journal) or any(m.fleet.count(starting) for m in controller.machines.values()):
        await asyncio.sleep(timing.look)


def needs_healing(runtime: ChainRuntime, journal: Journal) -> bool:
    """Whether the load balancer or an instance is missing. Asks processes, because the journal may be out of date."""
    for tier in runtime.chain.tiers:
        if journal.fleet(tier.name).count((Phase.ADMITTED,)) < tier.size and journal.tier(tier.name) is not None:
            return True
    return _something_died(runtime, journal)


def _something_died(runtime: ChainRuntime, journal: Journal) -> bool:
    """Whether the load balancer is down, or an instance that is to serve has no process."""
    if not runtime.platform.is_open():
        return True
    for tier in runtime.chain.tiers:
        for member in journal.fleet(tier.name).where(Phase.READY, Phase.ADMITTED):
            instance = runtime.platform.recorded(member.name)
            if instance is None or runtime.platform.gone(instance) is not None:
                return True
    return False
