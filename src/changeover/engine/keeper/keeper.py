"""The keeper: stays behind after `up`, replaces instances that died, and otherwise leaves the chain alone.

It looks without the lease, and takes the lease only when no live command holds it. A rollout whose controller has ended
goes the way that `update.abandoned` names; with `wait` it is paused as soon as an instance dies, and that is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from changeover.engine.controller import Controller
from changeover.engine.journal.journal import Journal, LeaseHeld
from changeover.engine.journal.lease import KEEPER
from changeover.engine.keeper.crash_loops import CrashLoops
from changeover.engine.keeper.health import inspect, wanted_now
from changeover.engine.release.release import carry_on
from changeover.engine.reports import in_rollout
from changeover.engine.runtime import ChainRuntime, Progress, ProgressListener
from changeover.engine.upkeep import renew_certificates, restore_members
from changeover.kit.clock import Clock
from changeover.model.errors import ChangeoverError
from changeover.model.instance import Instance
from changeover.ports import CannotStart, LosesMembers, Unknown
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.actions import Action
from changeover.rollout.tier.machine import Machine
from changeover.rollout.tier.state import Undoing

Abandoned = Literal["resume", "undo", "wait"]


@dataclass(frozen=True)
class KeeperTiming:
    """Seconds."""

    look: float = 0.5
    """Between two looks at the chain."""
    router_look: float = 5.0
    """Between two questions to the routers: only a fault outside of the chain takes an instance from their lists."""
    heal: float = 15.0
    """For one attempt; then the keeper gives back the lease until the next look. A template that does not start must
    not keep out the rollout that replaces it. The pause between starts is in the journal, and goes on."""


async def keep(
    runtime: ChainRuntime,
    journal: Journal,
    on_progress: ProgressListener,
    changed: Callable[[], bool],
    timing: KeeperTiming = KeeperTiming(),
    carried: Callable[[], Awaitable[object]] | None = None,
) -> None:
    """Heal until the chain is down, or `changed` reports that its file is another one than `runtime` was made from.

    `carried`: called when the keeper has carried an abandoned rollout to its end, without the lease.
    """
    keeper = _Keeper(runtime, journal, on_progress, timing)
    keeper.carried = carried
    async with CrashLoops(runtime, journal, on_progress) as loops:
        while journal.is_up() and not changed():
            holder = journal.holder()
            if holder is None or not holder.is_alive():
                with contextlib.suppress(LeaseHeld):
                    await keeper.look()
                loops.look(Clock(not_before=journal.latest()).now())
            await asyncio.sleep(timing.look)


class _Keeper:
    def __init__(
        self, runtime: ChainRuntime, journal: Journal, on_progress: ProgressListener, timing: KeeperTiming
    ) -> None:
        self._runtime = runtime
        self._journal = journal
        self._on_progress = in_rollout(journal, on_progress)
        self._timing = timing
        self._asked_routers = -timing.router_look
        self._refused = False
        """Whether an abandoned rollout could not be carried on. It then waits for an operator."""
        self.carried: Callable[[], Awaitable[object]] | None = None

    async def look(self) -> None:
        """One look, and what follows from it. Raises LeaseHeld."""
        runtime, journal = self._runtime, self._journal
        await renew_certificates(runtime, list(_recorded(runtime, journal)), self._on_progress)
        policy = abandoned_policy(runtime, journal)
        if policy in ("resume", "undo") and not self._refused:
            await self._carry_on(policy)
        elif await something_died(runtime, journal) or is_short(runtime, journal):
            await self._heal()
        elif losing := await _losing(runtime):
            await self._restore(losing)
        elif time.monotonic() - self._asked_routers >= self._timing.router_look:
            self._asked_routers = time.monotonic()
            if await _missing_at_routers(runtime, journal):
                await self._heal()

    async def _carry_on(self, policy: str) -> None:
        journal = self._journal
        journal.take_lease(f"{policy} (the keeper)", Clock().now())  # not KEEPER: pause and abort find a controller
        self._runtime.instances.clear()
        try:
            action = Action.ABORT if policy == "undo" and not self._goes_back() else None
            await carry_on(self._runtime, journal, self._on_progress, action, "the keeper (update.abandoned)")
        except (ChangeoverError, CannotStart, Unknown) as error:
            self._refused = True
            text = f"the abandoned rollout waits for an operator, because it could not be carried on: {error}"
            self._on_progress(Progress(Clock().now(), "", text, level="warning", about=self._runtime.chain.name))
        finally:
            journal.release_lease()
        if self.carried is not None and not self._refused:
            await self.carried()

    def _goes_back(self) -> bool:
        release = self._journal.unfinished_release()
        states = [self._journal.tier(tier.name) for tier in self._runtime.chain.tiers]
        undoing = any(state is not None and isinstance(state.state, Undoing) for state in states)
        return undoing or (release is not None and release.undo_reason is not None)

    async def _restore(self, losing: Collection[str]) -> None:
        """Under the lease: a controller that removes an instance at this moment must not see it admitted again."""
        self._journal.take_lease(KEEPER, Clock().now())
        try:
            await restore_members(self._runtime, losing, self._journal, self._on_progress)
        finally:
            self._journal.release_lease()

    async def _heal(self) -> None:
        self._journal.take_lease(KEEPER, Clock().now())
        try:
            await heal(self._runtime, self._journal, self._on_progress, self._timing)
        finally:
            self._journal.release_lease()


async def _losing(runtime: ChainRuntime) -> list[str]:
    """Tiers whose routers lost members."""
    found: list[str] = []
    for tier, router in runtime.routers.items():
        with contextlib.suppress(Unknown):
            if isinstance(router, LosesMembers) and await router.lost():
                found.append(tier)
    return found


def _recorded(runtime: ChainRuntime, journal: Journal) -> Iterator[Instance]:
    for tier in runtime.chain.tiers:
        for member in journal.fleet(tier.name):
            if (instance := runtime.platform.recorded(member.name)) is not None:
                yield instance


def abandoned_policy(runtime: ChainRuntime, journal: Journal) -> Abandoned | None:
    """What is to become of the unfinished rollout, if there is one: of its tiers' settings the most careful one."""
    release = journal.unfinished_release()
    moving = {row.tier for row in journal.rollouts(unfinished=True)}
    if release is None:
        return "wait" if moving else None
    names = moving | set(release.to_templates)
    found = {tier.update.abandoned for tier in runtime.chain.tiers if tier.name in names}
    most_careful: tuple[Abandoned, ...] = ("wait", "undo", "resume")
    return next((policy for policy in most_careful if policy in found), "wait")


async def heal(
    runtime: ChainRuntime, journal: Journal, on_progress: ProgressListener, timing: KeeperTiming = KeeperTiming()
) -> None:
    """Replace what died, for a limited time. Pauses a rollout that is not finished. The lease must be held."""
    missing = await _missing_at_routers(runtime, journal)
    runtime.instances.clear()
    controller = Controller(runtime, journal, on_progress)
    async with controller.tending():
        moving = [tier for tier in controller.machines if controller.is_moving(tier)]
        for tier in moving:
            controller.request(tier, Action.PAUSE, "the keeper")  # refused by an undo, which goes on
        await asyncio.sleep(timing.look)  # one look at every tier, so that the controller sees which instances died
        for name in missing:
            text = "its routers did not list it; it is admitted again"
            tier = next((tier for tier, machine in controller.machines.items() if machine.fleet.get(name)), "")
            controller.reports.listener(Progress(controller.now, tier, text, name, level="warning"))
        with contextlib.suppress(Unknown):
            await controller.readmit(missing)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timing.heal):
                if moving:
                    await _until_replaced(runtime, journal, controller, timing)
                else:
                    await controller.settle()


async def _missing_at_routers(runtime: ChainRuntime, journal: Journal) -> frozenset[str]:
    """Names of the instances that are to serve and run, and that a router does not list."""
    seen = await inspect(runtime, journal)
    return frozenset(one.member.name for tier in seen.values() for one in tier if one.unlisted)


async def _until_replaced(
    runtime: ChainRuntime, journal: Journal, controller: Controller, timing: KeeperTiming
) -> None:
    """A paused rollout never settles: wait until no dead instance is in service and none is on its way to service."""
    while await something_died(runtime, journal) or any(map(_is_starting, controller.machines.values())):
        await asyncio.sleep(timing.look)


def _is_starting(machine: Machine) -> bool:
    """Whether an instance is on its way to service. Those that wait for a switch are not."""
    return machine.fleet.count((Phase.CREATING, Phase.WARMING, Phase.READY)) > len(machine.held_back)


def is_short(runtime: ChainRuntime, journal: Journal) -> bool:
    """Whether a tier has fewer instances in service than it is to have now, as far as the journal knows."""
    return any(
        journal.fleet(tier.name).serving < wanted_now(tier, journal)
        for tier in runtime.chain.tiers
        if journal.tier(tier.name) is not None
    )


async def something_died(runtime: ChainRuntime, journal: Journal) -> bool:
    """Whether the load balancer is down, or an instance that is to serve has no process."""
    if not runtime.platform.is_open():
        return True
    for tier in runtime.chain.tiers:
        serving = [member.name for member in journal.fleet(tier.name).where(Phase.READY, Phase.ADMITTED)]
        known = [instance for name in serving if (instance := runtime.platform.recorded(name)) is not None]
        if len(known) < len(serving) or await runtime.platform.gone(known):
            return True
    return False
