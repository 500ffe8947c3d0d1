"""What of a chain serves, as its processes and routers have it: the journal does not know of a power cut.

An instance serves when its journal has it as admitted, its process runs, and every router sends it requests. A router
that does not answer confirms nothing. Refuses to change anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from changeover.engine.journal.lease import KEEPER
from changeover.engine.journal.reading import JournalReader
from changeover.engine.release.release import in_words
from changeover.engine.runtime import ChainRuntime
from changeover.model.chain import Chain, Tier
from changeover.model.instance import Instance
from changeover.ports import Membership, Unknown
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.state import Failed

_LIVES = frozenset({Phase.WARMING, Phase.READY, Phase.ADMITTED, Phase.LEAVING, Phase.DRAINING})
"""Phases in which the process runs, unless it died and no controller has observed that."""
_UNLISTED = "its routers do not list it"


class ChainState(StrEnum):
    """A chain as an operator needs to know it."""

    SERVING = "serving"  # as it should
    DEGRADED = "degraded"  # requests are served, and something needs an operator or the keeper
    DOWN = "down"  # no request is answered: none of the ways through the chain has a serving instance in each tier


@dataclass(frozen=True)
class InstanceHealth:
    """One instance. `reason`: why it does not serve although it is to; empty otherwise."""

    member: Member
    instance: Instance | None
    dead: bool
    """Its process has ended, and no controller has observed that."""
    serves: bool
    exists: bool = True
    """Whether there is anything of it that can be asked."""
    reason: str = ""
    unlisted: bool = False
    """It runs and is to serve, and no router of its tier has it in its list."""


async def inspect(runtime: ChainRuntime, journal: JournalReader) -> dict[str, list[InstanceHealth]]:
    """Every instance by tier."""
    fleets = {tier.name: list(journal.fleet(tier.name)) for tier in runtime.chain.tiers}
    found: dict[str, Instance | None] = {}
    ended: dict[str, str] = {}
    gone: dict[str, str] = {}
    silent: dict[str, str] = {}
    for tier, members in fleets.items():
        known = {member.name: runtime.platform.recorded(member.name) for member in members}
        found.update(known)
        try:
            gone.update(await runtime.platform.gone([one for one in known.values() if one is not None]))
        except Unknown as error:
            silent.update(dict.fromkeys(known, str(error)))
        for member in members:
            ended[member.name] = _ended(member, known[member.name], gone)
            if (instance := known[member.name]) is not None:
                runtime.instances[member.name] = instance
        runtime.carry(tier, (member for member in members if not ended[member.name]))
    serving = {
        tier: [m.name for m in members if m.phase is Phase.ADMITTED and not ended[m.name]]
        for tier, members in fleets.items()
    }
    answers = await asyncio.gather(*(_ask(runtime, tier, frozenset(names)) for tier, names in serving.items()))
    missing = {name: why for answer in answers for name, why in answer.items()} | silent
    return {
        tier: [
            InstanceHealth(
                member,
                found[member.name],
                dead=bool(ended[member.name]),
                exists=found[member.name] is not None and member.name not in gone,
                serves=member.name in serving[tier] and not missing[member.name],
                reason=ended[member.name] or missing.get(member.name, ""),
                unlisted=missing.get(member.name) == _UNLISTED,
            )
            for member in members
        ]
        for tier, members in fleets.items()
    }


def _ended(member: Member, instance: Instance | None, gone: Mapping[str, str]) -> str:
    """Why its process does not run though it should; empty while it does."""
    if instance is None:
        return "there is no record of its process" if member.phase in _LIVES else ""
    if member.phase in _LIVES or member.phase is Phase.CREATING:
        why = gone.get(member.name)
        return "" if why is None else f"its process has ended: {why.strip().splitlines()[-1]}"
    return ""


async def _ask(runtime: ChainRuntime, tier: str, names: frozenset[str]) -> dict[str, str]:
    """Name -> why its routers do not send it requests; empty where they do."""
    if not names:
        return {}
    try:
        membership = await runtime.routers[tier].membership(names)
    except Unknown as error:
        return dict.fromkeys(names, str(error))
    return {name: _why_not(membership[name]) for name in names}


def _why_not(seen: Membership) -> str:
    if seen.admitted or seen.agreed:
        return ""
    return _UNLISTED if seen.removed else f"no requests from {seen.pending or 'its router'}"


# -- the chain -------------------------------------------------------------------------------------------------------


def serves_whole(chain: Chain, journal: JournalReader, seen: Mapping[str, Sequence[InstanceHealth]]) -> bool:
    """Whether every tier has the instances in service that it is to have at the moment."""
    return all(_serving(seen[tier.name]) >= wanted_now(tier, journal) for tier in chain.tiers)


def state_of(
    chain: Chain, seen: Mapping[str, Sequence[InstanceHealth]], findings: Sequence[str], *, up: bool
) -> ChainState:
    """The state that findings and instances amount to."""
    ends = [tier for tier in chain.tiers if not chain.behind(tier.name)]
    if not up or not any(all(_serving(seen[one.name]) for one in (*chain.path(end.name), end)) for end in ends):
        return ChainState.DOWN
    return ChainState.DEGRADED if findings else ChainState.SERVING


def findings_of(
    chain: Chain, journal: JournalReader, seen: Mapping[str, Sequence[InstanceHealth]], *, balancer_runs: bool
) -> list[str]:
    """What is not as it should be, a sentence each, with the next step where an operator has one."""
    holder, keeper = journal.holder(), journal.keeper()
    controlled = holder is not None and holder.is_alive()
    found = [] if balancer_runs else ["The load balancer is down."]
    keeps = chain.platform.kind == "local"  # elsewhere the platform replaces what dies
    if keeps and not controlled and (keeper is None or not keeper.is_alive()):
        found.append("No keeper is running: dead instances are not replaced. `changeover up` starts one.")
    for tier in chain.tiers:
        serving, state = _serving(seen[tier.name]), journal.tier(tier.name)
        if serving < (wanted := wanted_now(tier, journal)):
            why = "".join(f"; {one.member.name}: {one.reason.rstrip('.')}" for one in seen[tier.name] if one.reason)
            found.append(f"Tier {tier.name} has {serving} instances in service, and should have {wanted}{why}.")
        if state is not None and isinstance(state.state, Failed):
            found.append(f"Tier {tier.name} could not be started: {state.state.reason.partition(chr(10))[0]}.")
    healed = holder is not None and holder.purpose == KEEPER
    if (not controlled or healed) and (way := unfinished(journal)):
        found.append(
            f"A rollout ({way}) is unfinished and has no controller. `changeover resume` continues it, "
            "`changeover abort` takes it back."
        )
    return found


def unfinished(journal: JournalReader) -> str:
    """The release that is not finished, in words; empty without one."""
    if (release := journal.unfinished_release()) is not None:
        return in_words(release.to_templates)
    return in_words({row.tier: row.to_template for row in journal.rollouts(unfinished=True)})


def _serving(seen: Iterable[InstanceHealth]) -> int:
    return sum(one.serves for one in seen)


def wanted_now(tier: Tier, journal: JournalReader) -> int:
    """Instances that are to serve now: fewer than `size` while the tier is rolled, if its file allows it."""
    state = journal.tier(tier.name)
    return max(1, tier.size - tier.unavailable) if state is not None and state.moving else tier.size
