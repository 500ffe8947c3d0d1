"""A chain from nothing to serving, and back to nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time

from changeover.engine.controller import BUSY_LOOK, Controller
from changeover.engine.journal.journal import Journal
from changeover.engine.runtime import ChainRuntime, Progress, ProgressListener
from changeover.model.errors import fail
from changeover.ports import Unknown
from changeover.rollout.members.phases import Phase

AGREE_PATIENCE = 30.0
"""Seconds until all routers must send traffic to all members of a chain that was just started."""
AGREE_LOOKS = 5
"""Looks in a row that must find it so."""
STOP_PATIENCE = 10.0
"""Seconds that `down` gives each tier to finish what it has. The chain is being taken away: this is no drain."""


async def bring_up(world: ChainRuntime, journal: Journal, tell: ProgressListener) -> None:
    """Start every tier from its first template; all or nothing. The lease must be held. Raises ChangeoverError."""
    await world.platform.close()  # what a crash may have left behind
    journal.clear_tiers(journal.latest())
    try:
        await world.platform.open(fresh=True)
        for router in world.routers.values():
            await router.open()
        controller = Controller(world, journal, tell)
        async with controller.tending():
            for tier in world.chain.tiers:
                journal.begin_rollout(controller.now, tier.name, "", tier.first)
            ends = await asyncio.gather(*(controller.move(tier.name, tier.first) for tier in world.chain.inside_out))
            if all(end.outcome == "completed" for end in ends):
                await _agreed(world, controller)
        for tier, end in zip(world.chain.inside_out, ends, strict=True):
            if end.outcome != "completed":
                raise fail(
                    f"tier {tier.name} does not start: {end.reason}",
                    state="Everything that had been started was stopped again.",
                    next=f"Mend template {tier.first} of {tier.name} and run `changeover up` again.",
                )
        journal.set_up()
    except BaseException:
        await world.platform.close()
        journal.clear_tiers(journal.latest())
        raise


async def _agreed(world: ChainRuntime, controller: Controller) -> None:
    """Wait until every router sends traffic to every member. Raises ChangeoverError.

    The tiers come up side by side: an instance may be admitted by all gateways there are before there is one, and a
    gateway that comes later has yet to find it healthy when it gets its first request itself. One look is not enough: a
    proxy's worker threads learn of a member a moment after its main thread, which is asked.
    """
    deadline = time.monotonic() + AGREE_PATIENCE
    for tier, router in world.routers.items():
        agreed = 0
        while agreed < AGREE_LOOKS:
            names = frozenset(member.name for member in controller.machines[tier].fleet.where(Phase.ADMITTED))
            try:
                said = await router.membership(names)
                missing = ", ".join(name for name in sorted(names) if not said[name].admitted)
            except Unknown as error:
                missing = str(error)
            if missing and time.monotonic() > deadline:
                raise fail(f"tier {tier} is up, but not in the eyes of all its routers: {missing}", next="Try again.")
            agreed = 0 if missing else agreed + 1
            await asyncio.sleep(BUSY_LOOK)


async def take_down(world: ChainRuntime, journal: Journal, tell: ProgressListener) -> list[str]:
    """Stop every instance, edge first, each tier for at most STOP_PATIENCE; then the rest. Returns who was stopped."""
    stopped = []
    for tier in world.chain.tiers:
        instances = [i for m in journal.fleet(tier.name) if (i := world.platform.recorded(m.name)) is not None]
        if tier.router is not None:  # it stays, and would send to whatever comes to these addresses next
            with contextlib.suppress(Unknown):
                for instance in instances:
                    await world.routers[tier.name].forget(instance.name)
        for instance in instances:
            tell(Progress(time.time(), tier.name, "told to stop", instance.name))
            await world.platform.stop(instance, world.hops[tier.name].traits.stop_signal)
        waited = 0.0
        while waited < STOP_PATIENCE and any(world.platform.gone(instance) is None for instance in instances):
            await asyncio.sleep(0.05)
            waited += 0.05
        stopped += [instance.name for instance in instances]
    await world.platform.close()
    journal.clear_tiers(journal.latest())
    return stopped
