"""A plan as it is saved for `roll --plan`: what to roll, and the facts that the plan rests on.

A plan is named by these facts: targets, strategy, templates, rollout settings, and the instances that exist. When any
of them has changed, the plan is stale. Requests in flight are not among them: they change at every moment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from changeover.engine.journal.journal import Journal
from changeover.engine.runtime import ChainRuntime, rollout_settings
from changeover.kit.files import write_whole
from changeover.model.chain import Tier
from changeover.model.errors import ChangeoverError, fail
from changeover.model.hooks import Point
from changeover.model.revision import template_of
from changeover.model.update import Strategy
from changeover.ports import CanWeigh
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.settings import RolloutSettings

FORMAT = 1
"""Raised when the meaning of a saved plan changes. Plans of another format are refused: to plan again is cheap."""

Basis = Mapping[str, str]
"""The facts that a plan rests on: what each is about, and its value when the plan was made."""


@dataclass(frozen=True)
class SavedPlan:
    """A plan as it was saved. `targets`: tier -> template."""

    id: str
    targets: Mapping[str, str]
    strategy: Strategy | None
    basis: Basis


def save(folder: Path, plan: SavedPlan) -> None:
    """Save a plan in the chain's state folder."""
    stored = {
        "format": FORMAT,
        "id": plan.id,
        "targets": dict(plan.targets),
        "strategy": plan.strategy,
        "basis": dict(plan.basis),
    }
    write_whole(_file(folder, plan.id), json.dumps(stored, indent=2))


def find(folder: Path, number: str) -> SavedPlan:
    """The plan of that id. Raises ChangeoverError when there is none, or none that this version can carry out."""
    if not number.isalnum():
        raise _not_there(folder, number)
    file = _file(folder, number)
    try:
        stored = json.loads(file.read_text())
        version = stored.get("format", 0)
        if version != FORMAT:
            raise fail(
                f"plan {number} was made by {'a newer' if version > FORMAT else 'an older'} version of changeover",
                where=str(file),
                state="Nothing was changed.",
                next="Make the plan again with `changeover plan`.",
            )
        return SavedPlan(stored["id"], stored["targets"], stored["strategy"], stored["basis"])
    except FileNotFoundError as error:
        raise _not_there(folder, number) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise fail(
            f"plan {number} cannot be read: {error}",
            where=str(file),
            state="Nothing was changed.",
            next="Make the plan again with `changeover plan`.",
        ) from error


def _not_there(folder: Path, number: str) -> ChangeoverError:
    return fail(
        f"there is no plan {number} in {folder}",
        state="Nothing was changed.",
        next="Make a plan with `changeover plan`; it prints the plan's id.",
    )


def _file(folder: Path, number: str) -> Path:
    return folder / "plans" / f"{number}.json"


def check_fresh(runtime: ChainRuntime, journal: Journal, plan: SavedPlan) -> None:
    """Check that the facts are as they were when the plan was made. Raises ChangeoverError that names what changed."""
    now = basis_of(runtime, journal, plan.targets, plan.strategy)
    changed = [what for what in plan.basis.keys() | now.keys() if plan.basis.get(what) != now.get(what)]
    if changed:
        raise stale(plan, now, changed)


def stale(plan: SavedPlan, now: Basis, changed: Iterable[str]) -> ChangeoverError:
    """The error that names what has changed since."""
    changes = [f"{what}: was {plan.basis.get(what)}, is {now.get(what)}" for what in sorted(changed)]
    return fail(
        f"plan {plan.id} is stale",
        state="\n  ".join([*changes, "Nothing was changed."]),
        next="Plan again, and look at what is different.",
    )


# -- the facts -------------------------------------------------------------------------------------------------------


def basis_of(
    runtime: ChainRuntime, journal: Journal, targets: Mapping[str, str], strategy: Strategy | None
) -> dict[str, str]:
    """The facts that a plan of that roll rests on, as they are now."""
    found: dict[str, str] = {"strategy": strategy or "the chain file's"}
    for name, template in targets.items():
        tier = runtime.chain.tier(name)
        assert tier is not None
        state = journal.tier(name)
        members = sorted(journal.fleet(name), key=lambda member: member.serial)
        found |= {
            f"the template of {name}": f"{state.goal if state else tier.first} -> {template}",
            f"the content of template {template_of(template)} of {name}": runtime.hashes[name][template_of(template)],
            f"the instances of {name}": ", ".join(as_listed(member) for member in members),
            f"the rollout settings of {name}": digest(_stored_settings(settings_of(runtime, tier))),
        }
    return found


def settings_of(runtime: ChainRuntime, tier: Tier) -> RolloutSettings:
    """The rollout settings of a tier, as the controller will have them."""
    asks_hooks = any(hook.point is Point.BEFORE_STEP for hook in runtime.chain.hooks)
    weighed, guards = isinstance(runtime.routers[tier.name], CanWeigh), runtime.guards_of(tier.name)
    return rollout_settings(tier, weighed=weighed, guards=guards, ask_first=asks_hooks)


def as_listed(member: Member) -> str:
    return member.name if member.phase is Phase.ADMITTED else f"{member.name} ({member.phase.value})"


def digest(facts: Mapping[str, Any]) -> str:
    """12 hex digits that name these facts."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _stored_settings(settings: RolloutSettings) -> dict[str, Any]:
    """Words of their own: a field that is renamed in Python makes no plan stale."""
    return {
        "size": settings.size,
        "surge": settings.surge,
        "unavailable": settings.unavailable,
        "min_ready": settings.min_ready,
        "progress_deadline": settings.progress_deadline,
        "drain_deadline": settings.drain_deadline,
        "cut_at_deadline": settings.cut_at_deadline,
        "strategy": settings.strategy,
        "steps": [[step.kind, step.share, step.stay] for step in settings.steps],
        "bake": settings.bake,
        "watch": [settings.watch, settings.watch_limit],
        "by_load": settings.by_load,
        "ask_first": settings.ask_first,
        "weighed": settings.weighed,
        "hold": settings.hold,
        "fresh_baseline": settings.fresh_baseline,
    }
