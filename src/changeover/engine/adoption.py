"""A chain whose instances were there before it: adopted by `up`, read again before a rollout, released by `down`.

Creates and deletes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from changeover.engine.journal.journal import Journal
from changeover.engine.journal.records import LogLine
from changeover.engine.runtime import ChainRuntime
from changeover.kit.clock import Clock
from changeover.model.chain import Tier
from changeover.model.errors import fail
from changeover.model.instance import Instance
from changeover.model.revision import template_of
from changeover.ports import Adopts
from changeover.rollout.members.fleet import DEFAULT_WEIGHT, Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.state import Resting, TierState


async def adopt(runtime: ChainRuntime, journal: Journal) -> None:
    """Take every tier as it is; all or nothing. The lease must be held. Raises ChangeoverError, and Unknown."""
    platform = runtime.platform
    assert isinstance(platform, Adopts)
    found = await platform.adopt(runtime.chain.tiers)
    journal.clear_tiers(journal.latest())
    _write(journal, runtime.chain.tiers, found)
    await _list_members(runtime, journal, found)
    journal.set_up()


async def read_again(runtime: ChainRuntime, journal: Journal) -> None:
    """Take the tiers at rest as they are now: their groups have replaced VMs meanwhile. The lease must be held.

    Raises ChangeoverError where one is not as it must be, such as another size, and Unknown.
    """
    platform = runtime.platform
    assert isinstance(platform, Adopts)
    resting = [tier for tier in runtime.chain.tiers if _rests(journal, tier)]
    found = await platform.adopt(resting)
    for tier in resting:
        if len(found[tier.name]) != tier.size:
            raise fail(
                f"tier {tier.name} was adopted with {tier.size} instances, and its group has {len(found[tier.name])}",
                state="Nothing was changed.",
                next="Run `changeover up`, which takes the group as it is now.",
            )
    _write(journal, resting, found)
    for tier in resting:
        await platform.settle(tier, found_template(found[tier.name]))


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
    """Have routers that hold a list have these members on it, by the names of this chain. Raises Unknown."""
    for tier, instances in found.items():
        runtime.instances.update({instance.name: instance for instance in instances})
        runtime.carry(tier, journal.fleet(tier))
    for tier, instances in found.items():
        await runtime.routers[tier].open()
        for instance in instances:
            await runtime.routers[tier].admit(instance, DEFAULT_WEIGHT)


def found_template(instances: Collection[Instance]) -> str:
    """The one template of instances that were adopted."""
    return next(iter({instance.template for instance in instances}))


def _rests(journal: Journal, tier: Tier) -> bool:
    state = journal.tier(tier.name)
    return state is None or isinstance(state.state, Resting)


def _write(journal: Journal, tiers: Collection[Tier], found: Mapping[str, Collection[Instance]]) -> None:
    """Each member keeps its serial and its times, if it was known before."""
    now = Clock(not_before=journal.latest()).now()
    for tier in tiers:
        instances = found[tier.name]
        before, fleet = journal.tier(tier.name), journal.fleet(tier.name)
        template = found_template(instances)
        state = before if before is not None and template_of(before.goal) == template else TierState(template)
        members, serial = [], max([state.serial, *(_number(instance.name) for instance in instances)])
        for instance in instances:
            known = fleet.get(instance.name)
            if known is not None and known.template == state.goal and known.phase is Phase.ADMITTED:
                members.append(known)
                continue
            serial += 1
            times = {"created": now, Phase.ADMITTED: now}
            member = Member(instance.name, state.goal, serial, Phase.ADMITTED, times, patience_from=now, served=True)
            members.append(replace(member, place=instance.place))
        new = {member.name for member in members}
        left = []
        for member in list(fleet):
            if member.name not in new:
                member.phase = Phase.GONE
                member.times[Phase.GONE] = now
                left.append(member)
        line = LogLine("note", f"adopted {len(members)} instances of template {template}")
        lines = [line] if before is None or left or any(fleet.get(name) is None for name in new) else []
        journal.write_step(now, tier.name, replace(state, serial=serial), [*members, *left], lines)


def _number(name: str) -> int:
    """The number at the end of a name, above which new names are free."""
    tail = name.rpartition("-")[2]
    return int(tail) if tail.isdigit() and len(tail) < 10 else 0
