"""A chain from nothing to serving, and back to nothing."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from changeover.engine.controller import Controller
from changeover.engine.journal.journal import Journal
from changeover.engine.runtime import ChainRuntime, Progress, ProgressListener
from changeover.model.errors import fail
from changeover.model.instance import Instance
from changeover.ports import Launches, Unknown
from changeover.rollout.members.phases import Phase


@dataclass(frozen=True)
class LifecycleTiming:
    """Seconds, unless a field says otherwise."""

    admission: float = 30.0
    """Until every router of a new chain must send traffic to every member, or the tier's progress deadline if that is
    longer."""
    admission_looks: int = 5
    """Looks in a row that must find every member admitted."""
    stop: float = 10.0
    """That `down` gives each tier to end its requests, unless a `stop.grace` is longer. This is no drain."""
    stop_look: float = 0.05
    """Between two looks at instances that were sent their stop signal."""


async def bring_up(
    runtime: ChainRuntime,
    journal: Journal,
    on_progress: ProgressListener,
    timing: LifecycleTiming = LifecycleTiming(),
) -> None:
    """Start every tier from its first template; all or nothing. The lease must be held. Raises ChangeoverError."""
    platform = runtime.platform
    assert isinstance(platform, Launches)
    await platform.close()  # an earlier command that was killed may have left processes
    journal.clear_tiers(journal.latest())
    try:
        await platform.open(fresh=True)
        for router in runtime.routers.values():
            await router.open()
        controller = Controller(runtime, journal, on_progress)
        async with controller.tending():
            for tier in runtime.chain.tiers:
                journal.begin_rollout(controller.now, tier.name, "", tier.first)
            ends = await asyncio.gather(*(controller.move(tier.name, tier.first) for tier in runtime.chain.inside_out))
            if all(end.outcome == "completed" for end in ends):
                await _until_admitted(runtime, controller, timing)
        for tier, end in zip(runtime.chain.inside_out, ends, strict=True):
            if end.outcome != "completed":
                raise fail(
                    f"tier {tier.name} does not start: {end.reason}",
                    state="All instances that had been started were stopped again.",
                    next=f"Correct template {tier.first} of {tier.name} and run `changeover up` again.",
                )
        journal.set_up()
    except BaseException:
        await platform.close()
        journal.clear_tiers(journal.latest())
        raise


async def _until_admitted(runtime: ChainRuntime, controller: Controller, timing: LifecycleTiming) -> None:
    """Wait until every router sends traffic to every member. Raises ChangeoverError.

    The tiers start concurrently. An instance counts as admitted when all gateways that exist admit it, even if none
    exists yet; a gateway that starts later must still find the instance healthy. One look is not enough: the worker
    threads of a proxy learn of a member a moment after its main thread, which answers the look.
    """
    began = time.monotonic()
    for tier, router in runtime.routers.items():
        agreed = 0
        deadline = began + max(timing.admission, controller.machines[tier].settings.progress_deadline)
        while agreed < timing.admission_looks:
            names = frozenset(member.name for member in controller.machines[tier].fleet.where(Phase.ADMITTED))
            try:
                membership = await router.membership(names)
                missing = ", ".join(name for name in sorted(names) if not membership[name].admitted)
            except Unknown as error:
                missing = str(error)
            if missing and time.monotonic() > deadline:
                raise fail(
                    f"tier {tier} is up, but its routers have not admitted every instance: {missing}",
                    state="All instances that had been started were stopped again.",
                    next="Run `changeover up` again; if it fails again, look into the logs of the router.",
                )
            agreed = 0 if missing else agreed + 1
            await asyncio.sleep(runtime.timing.busy_look)


async def _running(runtime: ChainRuntime, instances: list[Instance]) -> list[str]:
    """Names of the instances that a stop signal was sent to and that still run."""
    names = [instance.name for instance in instances]
    gone = await runtime.platform.gone(instances, names)
    return [name for name in names if name not in gone]


async def take_down(
    runtime: ChainRuntime,
    journal: Journal,
    on_progress: ProgressListener,
    timing: LifecycleTiming = LifecycleTiming(),
) -> tuple[list[str], list[str]]:
    """Stop every instance, edge first, then the load balancer.

    Returns the names of the instances, and of those that were killed because they still ran at the end of their grace.
    """
    platform = runtime.platform
    assert isinstance(platform, Launches)
    stopped, killed = [], []
    for tier in runtime.chain.tiers:
        instances = [i for m in journal.fleet(tier.name) if (i := runtime.platform.recorded(m.name)) is not None]
        if tier.router is not None:  # it outlives the chain, and would send to whatever listens at these addresses next
            for instance in instances:
                try:
                    await runtime.routers[tier.name].forget(instance.name)
                except Unknown as error:
                    text = f"its router may list it after the end of the chain: {error}"
                    on_progress(Progress(time.time(), tier.name, text, instance.name, level="warning"))
        for instance in instances:
            on_progress(Progress(time.time(), tier.name, "stop signal sent", instance.name))
            await runtime.platform.stop(instance, *runtime.stop_of(instance))
        waited, patience = 0.0, max(timing.stop, *runtime.stop_grace(tier.name).values(), 0.0)
        while waited < patience and await _running(runtime, instances):
            await asyncio.sleep(timing.stop_look)
            waited += timing.stop_look
        for name in await _running(runtime, instances):
            text = f"killed: still running {patience:.0f} s after its stop signal (stop.grace)"
            on_progress(Progress(time.time(), tier.name, text, name, level="warning"))
            killed.append(name)
        stopped += [instance.name for instance in instances]
    await platform.close()
    journal.clear_tiers(journal.latest())
    return stopped, killed
