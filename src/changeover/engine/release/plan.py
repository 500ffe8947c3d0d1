"""What a roll would do to the chain as it is just now, and to the uploads in flight. Looks, and changes nothing.

A plan is named by what it rests on: goals, strategy, templates, rules, and the instances that are there. When any of
that is different later, it is stale. What is in flight is not part of it: that is different at every moment.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from math import inf
from pathlib import Path
from statistics import median

from changeover.engine.journal.journal import Journal
from changeover.engine.release.release import is_there
from changeover.engine.runtime import ChainRuntime, rollout_settings
from changeover.kit.files import write_whole
from changeover.model.chain import Strategy, Tier
from changeover.model.errors import ChangeoverError, fail
from changeover.model.hooks import Point
from changeover.model.instance import InFlight, Upload
from changeover.ports import CanWeigh, Unknown
from changeover.rollout.events import Started
from changeover.rollout.members.fleet import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.simulation.rehearsal import Rehearsal, rehearse
from changeover.rollout.simulation.upload_forecast import Passing, fate, needs
from changeover.rollout.tier.state import Course, RolloutSettings

Basis = Mapping[str, str]
"""What a plan rests on: what it is, and how it was when the plan was made."""


@dataclass(frozen=True)
class TierPlan:
    """One tier's part. `begins`: seconds from the beginning of the whole."""

    tier: str
    from_template: str
    to_template: str
    size: int
    begins: float
    rehearsal: Rehearsal


@dataclass(frozen=True)
class Plan:
    """The whole. Tiers in the order in which they are rolled; those that are at their goal are left out."""

    id: str
    goals: Mapping[str, str]
    strategy: Strategy | None
    basis: Basis
    tiers: tuple[TierPlan, ...]
    peak: int
    """Most instances of the whole chain that exist at once."""
    uploads: tuple[Passing, ...]
    """Every upload in flight now that passes through what is rolled; in the first tier whose rollout it meets, which
    lets it end or cuts it."""
    silent: tuple[str, ...]
    """Instances that did not say what they have in flight."""

    @property
    def floor(self) -> float:
        """Seconds it would take if nothing were in flight."""
        return sum(one.rehearsal.floor for one in self.tiers)

    @property
    def seconds(self) -> float | None:
        """Seconds it takes with what is in flight now; None when that holds it up without end."""
        if any(one.rehearsal.outcome != "completed" for one in self.tiers):
            return None
        return sum(one.rehearsal.seconds for one in self.tiers)


async def make(
    world: ChainRuntime, journal: Journal, goals: Mapping[str, str], strategy: Strategy | None, at: float
) -> Plan:
    """Plan that roll. Raises ChangeoverError while tiers that it moves are not at rest."""
    if (release := journal.unfinished_release()) is not None:
        way = ", ".join(f"{tier} to {goal}" for tier, goal in release.to_templates.items())
        raise fail(
            f"a rollout ({way}) is under way, or was when its controller ended",
            state="Nothing was planned.",
            next="Wait for its end, carry it there with `changeover resume`, or take it back with `changeover abort`.",
        )
    moving = [t for t in world.chain.inside_out if t.name in goals and not is_there(journal, t, goals[t.name])]
    for tier in moving:
        _check_whole(journal, tier)
    seen = {tier.name: await _in_flight(world, journal, tier) for tier in world.chain.tiers}
    planned: list[TierPlan] = []
    uploads: list[Passing] = []
    over: set[int] = set()
    for tier in moving:
        begins = sum(one.rehearsal.seconds for one in planned)
        ends = [(name, up, needs(up)) for name, up in _uploads(world, tier, seen) if id(up) not in over]
        rehearsal = _rehearse(world, journal, tier, goals[tier.name], strategy, at, begins, ends)
        came_from = _course(journal, tier).goal
        planned.append(TierPlan(tier.name, came_from, goals[tier.name], tier.size, begins, rehearsal))
        met = _passing(tier, begins, rehearsal, ends)
        over |= {id(one.upload) for one in met}
        uploads += met
    here = {tier.name: journal.fleet(tier.name).existing for tier in world.chain.tiers}
    peaks = [one.rehearsal.peak - here[one.tier] for one in planned]
    rests = basis(world, journal, goals, strategy)
    return Plan(
        id=_name(rests),
        goals=dict(goals),
        strategy=strategy,
        basis=rests,
        tiers=tuple(planned),
        peak=sum(here.values()) + max(peaks, default=0),
        uploads=tuple(uploads),
        silent=tuple(name for tier in seen.values() for name, what in tier.items() if what is None),
    )


# -- what it rests on ------------------------------------------------------------------------------------------------


def basis(world: ChainRuntime, journal: Journal, goals: Mapping[str, str], strategy: Strategy | None) -> Basis:
    """What a plan of that roll rests on just now."""
    found: dict[str, str] = {"strategy": strategy or "the chain file's"}
    for name, goal in goals.items():
        tier = world.chain.tier(name)
        assert tier is not None
        members = sorted(journal.fleet(name), key=lambda member: member.serial)
        found |= {
            f"the template of {name}": f"{_course(journal, tier).goal} -> {goal}",
            f"what template {goal} of {name} says": world.hashes[name][goal],
            f"the instances of {name}": ", ".join(_as_listed(member) for member in members),
            f"the rules of {name}": _name({"rules": repr(_rules(world, tier))}),
        }
    return found


def _as_listed(member: Member) -> str:
    return member.name if member.phase is Phase.ADMITTED else f"{member.name} ({member.phase.value})"


def _name(rests: Basis) -> str:
    text = json.dumps(rests, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Kept:
    """A plan as it was left for `roll --plan`."""

    id: str
    goals: Mapping[str, str]
    strategy: Strategy | None
    basis: Basis


def keep(folder: Path, plan: Plan) -> None:
    """Leave it in the chain's state folder, where `find` finds it."""
    kept = Kept(plan.id, plan.goals, plan.strategy, plan.basis)
    write_whole(_file(folder, plan.id), json.dumps(asdict(kept), indent=2))


def find(folder: Path, number: str) -> Kept:
    """The plan of that id. Raises ChangeoverError when there is none."""
    try:
        if not number.isalnum():
            raise ValueError
        return Kept(**json.loads(_file(folder, number).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise fail(
            f"there is no plan {number} here",
            state="Nothing was changed.",
            next="`changeover plan` makes one, and says its id.",
        ) from error


def _file(folder: Path, number: str) -> Path:
    return folder / "plans" / f"{number}.json"


def check_fresh(world: ChainRuntime, journal: Journal, kept: Kept) -> None:
    """Whether everything is as it was when the plan was made. Raises ChangeoverError that says what is not."""
    now = basis(world, journal, kept.goals, kept.strategy)
    changed = [what for what in kept.basis.keys() | now.keys() if kept.basis.get(what) != now.get(what)]
    if changed:
        raise stale(kept, now, changed)


def stale(kept: Kept, now: Basis, changed: Iterable[str]) -> ChangeoverError:
    """The error that says what has changed since."""
    told = [f"{what}: was {kept.basis.get(what)}, is {now.get(what)}" for what in sorted(changed)]
    return fail(
        f"plan {kept.id} is stale",
        state="\n  ".join([*told, "Nothing was changed."]),
        next="Plan again, and look at what is different.",
    )


# -- how it will go --------------------------------------------------------------------------------------------------


def _check_whole(journal: Journal, tier: Tier) -> None:
    members = [member for member in journal.fleet(tier.name) if member.phase is not Phase.ADMITTED]
    if members:
        raise fail(
            f"tier {tier.name} is not at rest: {', '.join(map(_as_listed, members))}",
            state="Nothing was planned.",
            next="Plan again when `changeover status` shows it whole; `changeover roll` needs no plan.",
        )


def _course(journal: Journal, tier: Tier) -> Course:
    return journal.course(tier.name) or Course(tier.first)


def _rules(world: ChainRuntime, tier: Tier) -> RolloutSettings:
    asked = any(hook.point is Point.BEFORE_STEP for hook in world.chain.hooks)
    return rollout_settings(tier, weighed=isinstance(world.routers[tier.name], CanWeigh), ask_first=asked)


async def _in_flight(world: ChainRuntime, journal: Journal, tier: Tier) -> dict[str, InFlight | None]:
    """Of every instance that serves; None where it does not say."""

    async def ask(name: str) -> InFlight | None:
        instance = world.platform.recorded(name)
        if instance is None:
            return None
        try:
            return await world.hops[tier.name].in_flight(instance)
        except Unknown:
            return None

    names = [member.name for member in journal.fleet(tier.name).where(Phase.ADMITTED)]
    return dict(zip(names, await asyncio.gather(*map(ask, names)), strict=True))


def _uploads(
    world: ChainRuntime, tier: Tier, seen: Mapping[str, Mapping[str, InFlight | None]]
) -> list[tuple[str | None, Upload]]:
    """The uploads that pass through a tier, with their instance where it is known.

    A tier that sees no uploads passes on those of the first tier behind it that does, each through some instance.
    """
    behind: Tier | None = tier
    while behind is not None and not world.hops[behind.name].traits.sees_uploads:
        behind = world.chain.inner(behind.name)
    if behind is None:
        return []
    here = behind is tier
    return [
        (name if here else None, upload)
        for name, what in seen[behind.name].items()
        if what is not None
        for upload in what.uploads
    ]


def _rehearse(
    world: ChainRuntime,
    journal: Journal,
    tier: Tier,
    goal: str,
    strategy: Strategy | None,
    at: float,
    begins: float,
    ends: list[tuple[str | None, Upload, float | None]],
) -> Rehearsal:
    members = journal.members_since(tier.name, 0.0)
    starts = [m.times[Phase.WARMING] - m.times["created"] for m in members if Phase.WARMING in m.times]
    drains = [
        m.times[Phase.DRAINED] - m.times[Phase.LEAVING]
        for m in members
        if m.phase is Phase.GONE and m.times.keys() >= {Phase.DRAINED, Phase.LEAVING} and not m.cut
    ]
    # Who sees no uploads is drained by connections, which are kept open idle: that takes as long as it took before.
    usual = 0.0 if world.hops[tier.name].traits.sees_uploads else median(drains or [0.0])

    def drain(name: str, after: float) -> float:
        left = [end - begins - after for instance, _, end in ends if end is not None and instance in (None, name)]
        return max(usual, *left, 0.0)

    return rehearse(
        _rules(world, tier),
        _course(journal, tier),
        journal.fleet(tier.name),
        Started(at, goal, strategy),
        start=median(starts or [0.0]),
        drain=drain,
    )


def _passing(
    tier: Tier, begins: float, rehearsal: Rehearsal, ends: list[tuple[str | None, Upload, float | None]]
) -> list[Passing]:
    becomes = partial(fate, deadline=tier.drain.deadline, cut=tier.drain.policy == "cut")
    first = min(rehearsal.leaves.values(), default=inf)
    found = []
    for instance, upload, end in ends:
        leaves = begins + (first if instance is None else rehearsal.leaves.get(instance, inf))
        if leaves < inf:
            found.append(Passing(tier.name, instance, upload, leaves, end, becomes(end, leaves)))
    return found
