"""What a roll would do to the chain as it is now, and to the uploads in flight. Reads, and changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from statistics import median

from changeover.engine.journal.journal import Journal
from changeover.engine.long_lived import LongLived, ages_of, long_lived
from changeover.engine.release.release import check_sizes, in_words, is_there
from changeover.engine.release.saved_plan import SavedPlan, as_listed, basis_of, digest, settings_of
from changeover.engine.release.strategies import check_strategy, unread_keys
from changeover.engine.runtime import ChainRuntime
from changeover.model.chain import Tier
from changeover.model.errors import fail
from changeover.model.instance import InFlight, Upload
from changeover.model.update import Strategy
from changeover.ports import CallRate, CountsCalls, DeletesLater, PoolsConnections, Unknown
from changeover.rollout.events import Started
from changeover.rollout.members.phases import Phase
from changeover.rollout.simulation.rehearsal import Rehearsal, rehearse
from changeover.rollout.simulation.upload_forecast import PassingUpload, seconds_left, upload_outcome
from changeover.rollout.tier.state import TierState


@dataclass(frozen=True)
class TierPlan:
    """One tier's part. `begins`: seconds from the beginning of the whole."""

    tier: str
    from_template: str
    to_template: str
    size: int
    begins: float
    rehearsal: Rehearsal
    deletion: float | None = None
    """Seconds for which the machine of a stopped instance is still there; None: it is gone with the instance."""
    counts_deleting: bool = False
    """Whether the next instance waits for that."""
    calls: CallRate | None = None
    """To the platform's API, per minute; None: nothing limits them."""

    @property
    def machines(self) -> int:
        """The most machines that exist at once, those of stopped instances included."""
        if self.deletion is None or self.counts_deleting:
            return self.rehearsal.peak
        changes = [(step.at, 1) for step in self.rehearsal.planned if step.what == "create"]
        changes += [(step.at + self.deletion, -1) for step in self.rehearsal.planned if step.what == "stop"]
        there = most = self.size
        for _, change in sorted(changes, key=lambda one: (one[0], -one[1])):
            there += change
            most = max(most, there)
        return most


@dataclass(frozen=True)
class Plan:
    """The whole. Tiers in the order in which they are rolled; those that are at their goal are left out."""

    saved: SavedPlan
    tiers: tuple[TierPlan, ...]
    peak: int
    """Most instances of the whole chain that exist at once."""
    uploads: tuple[PassingUpload, ...]
    """Every upload in flight now that passes through what is rolled; in the first tier whose rollout it meets, which
    lets it end or cuts it."""
    long_lived: tuple[tuple[str, str, LongLived], ...]
    """Tier, instance and its connections, of each instance with long-lived ones that the roll replaces and whose
    routers know the ages."""
    silent: tuple[str, ...]
    """Instances that did not report their requests in flight."""
    uncompared: tuple[tuple[str, str], ...] = ()
    """Tier and guard, where a rolling update may end before the guard has compared anything."""
    unread: tuple[tuple[str, str, Strategy], ...] = ()
    """Tier, key of its `update`, and the strategy that alone reads it, which is not the one of this roll."""

    @property
    def lower_bound(self) -> float:
        """Seconds it would take if nothing were in flight."""
        return sum(one.rehearsal.lower_bound for one in self.tiers)

    @property
    def seconds(self) -> float | None:
        """Seconds it takes with what is in flight now; None when that holds it up without end."""
        if any(one.rehearsal.outcome != "completed" for one in self.tiers):
            return None
        return sum(one.rehearsal.seconds for one in self.tiers)


async def make(
    runtime: ChainRuntime, journal: Journal, targets: Mapping[str, str], strategy: Strategy | None, at: float
) -> Plan:
    """Plan that roll. Raises ChangeoverError while tiers that it moves are not at rest, and Unknown."""
    if (release := journal.unfinished_release()) is not None:
        way = in_words(release.to_templates)
        raise fail(
            f"a rollout ({way}) is not finished",
            state="Nothing was planned.",
            next="Wait for its end, finish it with `changeover resume`, or take it back with `changeover abort`.",
        )
    check_sizes(runtime, journal, targets)
    check_strategy(runtime, journal, targets, strategy)
    moving = [t for t in runtime.chain.inside_out if t.name in targets and not is_there(journal, t, targets[t.name])]
    for tier in moving:
        _check_whole(journal, tier)
    seen = {tier.name: await _in_flight(runtime, journal, tier) for tier in runtime.chain.tiers}
    planned: list[TierPlan] = []
    uploads: list[PassingUpload] = []
    over: set[int] = set()
    for tier in moving:
        begins = sum(one.rehearsal.seconds for one in planned)
        ends = [(name, up, seconds_left(up)) for name, up in _uploads(runtime, tier, seen) if id(up) not in over]
        idle = await router.pool_idle() if isinstance(router := runtime.routers[tier.name], PoolsConnections) else 0.0
        rehearsal = _rehearse(runtime, journal, tier, targets[tier.name], strategy, at, begins, ends, idle)
        came_from = _tier_state(journal, tier).goal
        platform = runtime.platform
        one = TierPlan(
            tier.name,
            came_from,
            targets[tier.name],
            tier.size,
            begins,
            rehearsal,
            await platform.deletion(tier) if isinstance(platform, DeletesLater) else None,
            tier.update.count_deleting,
        )
        planned.append(
            replace(one, calls=platform.calls(tier, one.machines)) if isinstance(platform, CountsCalls) else one
        )
        met = _passing(tier, begins, rehearsal, ends)
        over |= {id(one.upload) for one in met}
        uploads += met
    here = {tier.name: journal.fleet(tier.name).existing for tier in runtime.chain.tiers}
    peaks = [one.rehearsal.peak - here[one.tier] for one in planned]
    basis = basis_of(runtime, journal, targets, strategy)
    return Plan(
        saved=SavedPlan(digest(basis), dict(targets), strategy, basis),
        tiers=tuple(planned),
        peak=sum(here.values()) + max(peaks, default=0),
        uploads=tuple(uploads),
        long_lived=tuple([one for tier in moving for one in await _long_lived(runtime, journal, tier)]),
        silent=tuple(name for tier in seen.values() for name, what in tier.items() if what is None),
        uncompared=tuple(
            (tier.name, guard.name)
            for tier in moving
            if (strategy or tier.update.strategy) == "rolling"
            for guard in runtime.guards_of(tier.name)
            if any(condition.against_baseline for condition in guard.conditions)
        ),
        unread=tuple(unread_keys(runtime, [tier.name for tier in moving], strategy)),
    )


# -- how it will go --------------------------------------------------------------------------------------------------


def _check_whole(journal: Journal, tier: Tier) -> None:
    members = [member for member in journal.fleet(tier.name) if member.phase is not Phase.ADMITTED]
    if members:
        raise fail(
            f"tier {tier.name} is not at rest: {', '.join(map(as_listed, members))}",
            state="Nothing was planned.",
            next="Plan again when `changeover status` shows it whole; `changeover roll` needs no plan.",
        )


def _tier_state(journal: Journal, tier: Tier) -> TierState:
    return journal.tier(tier.name) or TierState(tier.first)


async def _in_flight(runtime: ChainRuntime, journal: Journal, tier: Tier) -> dict[str, InFlight | None]:
    """Of every serving instance; None for those that do not report it."""

    async def ask(name: str) -> InFlight | None:
        instance = runtime.platform.recorded(name)
        if instance is None:
            return None
        try:
            return await runtime.hops[tier.name].in_flight(instance)
        except Unknown:
            return None

    names = [member.name for member in journal.fleet(tier.name).where(Phase.ADMITTED)]
    return dict(zip(names, await asyncio.gather(*map(ask, names)), strict=True))


async def _long_lived(runtime: ChainRuntime, journal: Journal, tier: Tier) -> list[tuple[str, str, LongLived]]:
    ages = await ages_of(runtime.routers[tier.name])
    names = [member.name for member in journal.fleet(tier.name).where(Phase.ADMITTED)]
    return [(tier.name, name, old) for name in names if (old := long_lived(tier, ages, name)) and old.connections]


def _uploads(
    runtime: ChainRuntime, tier: Tier, seen: Mapping[str, Mapping[str, InFlight | None]]
) -> list[tuple[str | None, Upload]]:
    """The uploads that pass through a tier, with their instance where it is known.

    A tier that sees no uploads passes on those of the first tiers behind it that do, each through some instance.
    """
    if not runtime.hops[tier.name].traits.sees_uploads:
        inward = (_uploads(runtime, inner, seen) for inner in runtime.chain.behind(tier.name))
        return [(None, upload) for uploads in inward for _, upload in uploads]
    return [(name, upload) for name, what in seen[tier.name].items() if what is not None for upload in what.uploads]


def _rehearse(
    runtime: ChainRuntime,
    journal: Journal,
    tier: Tier,
    goal: str,
    strategy: Strategy | None,
    at: float,
    begins: float,
    ends: list[tuple[str | None, Upload, float | None]],
    idle: float,
) -> Rehearsal:
    """`idle`: seconds for which its router keeps an idle connection to a removed instance."""
    members = journal.members_since(tier.name, 0.0)
    starts = [m.times[Phase.WARMING] - m.times["created"] for m in members if Phase.WARMING in m.times]
    drains = [
        m.times[Phase.DRAINED] - m.times[Phase.LEAVING]
        for m in members
        if m.phase is Phase.GONE and m.times.keys() >= {Phase.DRAINED, Phase.LEAVING} and not m.cut
    ]
    # A hop that sees no uploads drains until its connections are closed, idle ones too: assume the usual time.
    usual = 0.0 if runtime.hops[tier.name].traits.sees_uploads else median(drains or [0.0])

    def drain(name: str, after: float) -> float:
        left = [end - begins - after for instance, _, end in ends if end is not None and instance in (None, name)]
        return max(usual, *left, idle)

    return rehearse(
        settings_of(runtime, tier),
        _tier_state(journal, tier),
        journal.fleet(tier.name),
        Started(at, goal, strategy),
        start=median(starts or [0.0]),
        drain=drain,
    )


def _passing(
    tier: Tier, begins: float, rehearsal: Rehearsal, ends: list[tuple[str | None, Upload, float | None]]
) -> list[PassingUpload]:
    becomes = partial(upload_outcome, deadline=tier.drain.deadline, cut=tier.drain.policy == "cut")
    first = min(rehearsal.leaves.values(), default=inf)
    found = []
    for instance, upload, end in ends:
        leaves = begins + (first if instance is None else rehearsal.leaves.get(instance, inf))
        if leaves < inf:
            found.append(PassingUpload(tier.name, instance, upload, leaves, end, becomes(end, leaves)))
    return found
