"""The keeper: stays behind after `up`, replaces instances that died, and otherwise leaves the chain alone.

It looks without the lease, and takes the lease only when no live command holds it. A rollout whose controller has ended
goes the way that `update.abandoned` names; with `wait` it is paused as soon as an instance dies, and that is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Literal

from changeover.engine.controller import Controller
from changeover.engine.journal.journal import Journal, LeaseHeld
from changeover.engine.journal.lease import KEEPER
from changeover.engine.journal.records import Holder
from changeover.engine.keeper.crash_loops import CrashLoops
from changeover.engine.keeper.health import inspect, wanted_now
from changeover.engine.release.release import carry_on
from changeover.engine.reports import in_rollout
from changeover.engine.runtime import ChainRuntime, Progress, ProgressListener
from changeover.engine.upkeep import renew_certificates, restore_members
from changeover.kit.clock import Clock
from changeover.model.errors import ChangeoverError
from changeover.model.instance import Instance
from changeover.ports import CannotStart, LosesMembers, RenewsCertificates, Unknown
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
        while (known := keeper.read()).up and not changed():
            if known.holder is None or not known.holder.is_alive():
                with contextlib.suppress(LeaseHeld):
                    await keeper.look(known)
                loops.look()
            await asyncio.sleep(timing.look)


@dataclass(frozen=True)
class _Known:
    """What journal, records and routers say of a chain at rest, read once for many looks."""

    version: tuple[int, int]
    until: float
    """When it is read anew even if the journal has not changed: records are files, which may have been deleted."""
    up: bool
    holder: Holder | None
    policy: Abandoned | None
    short: bool
    """A tier has fewer instances in service than it is to have, or one of them has no record."""
    serving: tuple[Instance, ...]
    renewing: tuple[Instance, ...]
    """Those whose hop serves renewed certificates."""
    losing: tuple[str, ...]
    """Tiers whose routers can lose members."""


class _Keeper:
    def __init__(
        self, runtime: ChainRuntime, journal: Journal, on_progress: ProgressListener, timing: KeeperTiming
    ) -> None:
        self._runtime = runtime
        self._journal = journal
        self._on_progress = in_rollout(journal, on_progress)
        self._timing = timing
        self._asked_routers = -timing.router_look
        self._known: _Known | None = None
        self._refused = False
        """Whether an abandoned rollout could not be carried on. It then waits for an operator."""
        self.carried: Callable[[], Awaitable[object]] | None = None

    def read(self) -> _Known:
        """What is known of the chain, read anew where it may have changed."""
        known, version, now = self._known, self._journal.version(), time.monotonic()
        if known is None or known.version != version or now >= known.until:
            known = self._known = _read(self._runtime, self._journal, version, now + self._timing.router_look)
        return known

    async def look(self, known: _Known) -> None:
        """One look, and what follows from it. Raises LeaseHeld."""
        runtime, journal = self._runtime, self._journal
        await renew_certificates(runtime, known.renewing, self._on_progress)
        if known.policy in ("resume", "undo") and not self._refused:
            await self._carry_on(known.policy)
        elif known.short or not runtime.platform.is_open() or await runtime.platform.gone(known.serving):
            await self._heal()
        elif losing := await _losing(runtime, known.losing):
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


async def _losing(runtime: ChainRuntime, tiers: Collection[str]) -> list[str]:
    """Those tiers whose routers lost members."""
    found: list[str] = []
    for tier in tiers:
        router = runtime.routers[tier]
        assert isinstance(router, LosesMembers)
        with contextlib.suppress(Unknown):
            if await router.lost():
                found.append(tier)
    return found


def _read(runtime: ChainRuntime, journal: Journal, version: tuple[int, int], until: float) -> _Known:
    fleets = {tier.name: journal.fleet(tier.name) for tier in runtime.chain.tiers}
    started = [tier for tier in runtime.chain.tiers if journal.tier(tier.name) is not None]
    recorded = {
        member.name: instance
        for fleet in fleets.values()
        for member in fleet
        if (instance := runtime.platform.recorded(member.name)) is not None
    }
    serving = [member.name for fleet in fleets.values() for member in fleet.where(Phase.READY, Phase.ADMITTED)]
    short = any(fleets[tier.name].serving < wanted_now(tier, journal) for tier in started)
    return _Known(
        version,
        until,
        up=journal.is_up(),
        holder=journal.holder(),
        policy=abandoned_policy(runtime, journal),
        short=short or not all(name in recorded for name in serving),
        serving=tuple(recorded[name] for name in serving if name in recorded),
        renewing=tuple(one for one in recorded.values() if isinstance(runtime.hops.get(one.tier), RenewsCertificates)),
        losing=tuple(tier for tier, router in runtime.routers.items() if isinstance(router, LosesMembers)),
    )


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
                    # What a death cost takes the controller a second to find while clients still send requests.
                    while await something_died(runtime, journal):
                        await asyncio.sleep(timing.look)
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
