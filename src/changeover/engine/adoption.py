"""A chain whose instances were there before it: adopted by `up`, read again before a rollout, released by `down`.

Creates and deletes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from changeover.engine.journal.journal import Journal
from changeover.engine.journal.records import LogLine
from changeover.engine.runtime import ChainRuntime
from changeover.kit.clock import Clock
from changeover.model.chain import Tier
from changeover.model.errors import fail
from changeover.model.instance import Instance
from changeover.model.revision import template_of
from changeover.ports import Adopts, FollowsHealth, Unknown
from changeover.rollout.members.member import DEFAULT_WEIGHT, Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.state import Resting, TierState


async def adopt(runtime: ChainRuntime, journal: Journal, read: Mapping[str, Any] | None = None) -> None:
    """Take every tier as it is; all or nothing. The lease must be held. Raises ChangeoverError, and Unknown.

    `read`: tier -> what the platform's checks have just read of it.
    """
    platform = runtime.platform
    assert isinstance(platform, Adopts)
    found = await platform.adopt(runtime.chain.tiers, read=read)
    await _list_members(runtime, journal, found)
    journal.clear_tiers(journal.latest())
    _write(journal, runtime.chain.tiers, found)
    journal.set_up()


async def read_again(runtime: ChainRuntime, journal: Journal) -> None:
    """Take the tiers at rest as they are now: their groups have replaced VMs meanwhile. The lease must be held.

    Where a router has a list, the controller that comes next admits the new VMs, and has those that left forgotten.
    Raises ChangeoverError where a tier is not as it must be, such as of another size, and Unknown.
    """
    platform = runtime.platform
    assert isinstance(platform, Adopts)
    resting = [tier for tier in runtime.chain.tiers if _rests(journal, tier)]
    before = {
        tier.name: {member.name: platform.recorded(member.name) for member in journal.fleet(tier.name)}
        for tier in resting
        if not isinstance(runtime.routers[tier.name], FollowsHealth)
    }
    found = await platform.adopt(resting, again=True)
    _write(journal, resting, found, before)
    for tier in resting:
        if differs := await platform.settle(tier, found_template(found[tier.name])):
            raise fail(
                f"tier {tier.name}: {differs}",
                state="Nothing was changed.",
                next="Have its group be of one template of the chain file, then run the same command again.",
            )


async def settled(runtime: ChainRuntime, tier: str, template: str, attempts: int, pause: float) -> str:
    """Have the platform's own view of a tier be that its instances are of this template.

    Returns how it differs after all, or that this is unknown after so many attempts, in sentences; empty: it agrees.
    """
    platform, owner, error = runtime.platform, runtime.chain.tier(tier), Unknown()
    assert isinstance(platform, Adopts)
    assert owner is not None
    for _ in range(attempts):
        try:
            differs = await platform.settle(owner, template)
            return f"Tier {tier}: {differs}. `changeover up` takes the tier as it is now." if differs else ""
        except Unknown as found:
            error = found
            await asyncio.sleep(pause)
    return (
        f"Tier {tier}: whether its group agrees with the rollout is unknown ({error}). The next command that changes "
        "the chain has it agree."
    )


async def release(runtime: ChainRuntime, journal: Journal) -> list[str]:
    """Let go of every tier, whose instances go on as they are; returns their names. The lease must be held.

    Raises ChangeoverError while a rollout is unfinished, and Unknown.
    """
    platform = runtime.platform
    assert isinstance(platform, Adopts)
    names = [member.name for tier in runtime.chain.tiers for member in journal.fleet(tier.name)]
    moving = [tier.name for tier in runtime.chain.tiers if not _rests(journal, tier)]
    if moving or journal.unfinished_release() is not None:
        raise fail(
            f"a rollout ({', '.join(moving) or 'between two tiers'}) is not finished: released now, its group would "
            "have instances of two templates, some of them taken out of service",
            state="Nothing was changed.",
            next="Finish it with `changeover resume`, or take it back with `changeover abort`.",
        )
    await platform.release()
    journal.clear_tiers(journal.latest())
    return names


async def _list_members(runtime: ChainRuntime, journal: Journal, found: Mapping[str, Collection[Instance]]) -> None:
    """Have routers that hold a list have these members on it, by the names of this chain. Raises Unknown.

    Members that are on it stay in service meanwhile: most of a chain that is adopted again are.
    """
    for tier, instances in found.items():
        runtime.instances.update({instance.name: instance for instance in instances})
        runtime.carrying[tier] = {instance.name for instance in instances}
    for tier, instances in found.items():
        router = runtime.routers[tier]
        await router.open(instances)
        for instance in instances:
            await router.admit(instance, DEFAULT_WEIGHT)
        for name in {member.name for member in journal.fleet(tier)} - runtime.carrying[tier]:
            await router.forget(name)


def found_template(instances: Collection[Instance]) -> str:
    """The one template of instances that were adopted."""
    return next(iter({instance.template for instance in instances}))


def _rests(journal: Journal, tier: Tier) -> bool:
    state = journal.tier(tier.name)
    return state is None or isinstance(state.state, Resting)


def _write(
    journal: Journal,
    tiers: Collection[Tier],
    found: Mapping[str, Collection[Instance]],
    before: Mapping[str, Mapping[str, Instance | None]] = MappingProxyType({}),
) -> None:
    """Each member keeps its serial and its times, if it was known before.

    `before`: tiers whose routers have a list -> the instances that are on it. A controller admits others as it does
    instances that were not ready for a while, and has those that left forgotten.
    """
    now = Clock(not_before=journal.latest()).now()
    for tier in tiers:
        instances, listed = found[tier.name], before.get(tier.name)
        state_before, fleet = journal.tier(tier.name), journal.fleet(tier.name)
        template = found_template(instances)
        same = state_before is not None and template_of(state_before.goal) == template
        state = state_before if state_before is not None and same else TierState(template)
        members, serial = [], max([state.serial, *(_number(instance.name) for instance in instances)])
        for instance in instances:
            known, is_new = fleet.get(instance.name), listed is not None and not _is_listed(instance, listed)
            if known is not None and known.template == state.goal and known.phase is Phase.ADMITTED and not is_new:
                members.append(known)
                continue
            serial += 1
            admit = listed is not None and (is_new or (known is not None and known.phase is not Phase.ADMITTED))
            phase = Phase.CREATING if admit else Phase.ADMITTED
            times = {"created": now, phase: now}
            member = Member(instance.name, state.goal, serial, phase, times, patience_from=now, served=True)
            members.append(replace(member, place=instance.place))
        new = {member.name for member in members}
        left = []
        for member in list(fleet):
            if member.name not in new:
                member.phase = Phase.GONE if listed is None else Phase.FAILED
                member.times[member.phase] = now
                left.append(member)
        line = LogLine("note", f"adopted {len(members)} instances of template {template}")
        lines = [line] if state_before is None or left or any(fleet.get(name) is None for name in new) else []
        journal.write_step(now, tier.name, replace(state, serial=serial), [*members, *left], lines)


def _is_listed(instance: Instance, listed: Mapping[str, Instance | None]) -> bool:
    known = listed.get(instance.name)
    return known is not None and known.address == instance.address


def _number(name: str) -> int:
    """The number at the end of a name, above which new names are free."""
    tail = name.rpartition("-")[2]
    return int(tail) if tail.isdigit() and len(tail) < 10 else 0
