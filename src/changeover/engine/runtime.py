"""The types that everything in the engine shares: a chain with what can act on it, progress, a tier's settings.

Commands that only read a chain import this module and not the controller. Refuses to perform anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from signal import Signals
from types import MappingProxyType
from typing import TYPE_CHECKING

from changeover.engine.timing import EngineTiming
from changeover.model.chain import Chain, Tier
from changeover.model.errors import fail
from changeover.model.guard import Guard
from changeover.model.instance import Instance
from changeover.model.revision import template_of
from changeover.model.stop import Stop, StopTo
from changeover.model.update import Step
from changeover.ports import Platform, Preview, Router, RunningHop
from changeover.rollout.members.fleet import Moved
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.settings import CanaryStep, RolloutSettings

if TYPE_CHECKING:
    from changeover.engine.journal.journal import Journal
    from changeover.engine.metrics.source import Sources
    from changeover.engine.metrics.traffic import TrafficWitness


@dataclass(frozen=True)
class Progress:
    """One thing that happened in a chain. `moved` is set for a step along the phase table.

    `about`: what it is about where that is no tier, such as the chain; `tier` is empty then. `rollout`: the number of
    the rollout that it belongs to, if there is one.
    """

    at: float
    tier: str
    text: str
    instance: str = ""
    level: str = "info"
    moved: Moved | None = None
    about: str = ""
    rollout: int | None = None


_CARRYING = frozenset({Phase.WARMING, Phase.READY, Phase.ADMITTED, Phase.LEAVING, Phase.DRAINING})


def _carries(member: Member) -> bool:
    """Whether an instance may pass requests on, and so must know of every change behind it.

    One that served and is not ready any more may still have traffic, such as on pooled connections.
    """
    return member.phase in _CARRYING or (member.phase is Phase.CREATING and member.served)


ProgressListener = Callable[[Progress], None]


@dataclass(frozen=True)
class Guarding:
    """What guards a tier: the guards, and a factory of the sources that they query. Each guard run has its own."""

    guards: tuple[Guard, ...]
    sources: Callable[[], Sources]
    witness: Callable[[], TrafficWitness]
    """A factory of what shows whether the new instances of a step get requests; each step has its own."""


@dataclass(frozen=True)
class ChainRuntime:
    """A chain with everything that can act on it, as `wiring` joins it. Keys are tier names."""

    chain: Chain
    platform: Platform
    hops: Mapping[str, RunningHop]
    routers: Mapping[str, Router]
    hashes: Mapping[str, Mapping[str, str]]
    """Content hash of every template in the chain file: tier -> template -> hash."""
    hashes_in_use: Callable[[], Mapping[str, Mapping[str, str]]]
    """Reads the same of the copy of the chain file that the instances were made from. Raises ChangeoverError. One
    version of the program hashes both: a hash that another version had stored could not be compared."""
    instances: dict[str, Instance]
    """Every known instance, by name. Routers that are instances themselves find here which instances carry traffic."""
    guarding: Mapping[str, Guarding]
    """Tiers that have a guard."""
    folder: Path
    """The folder of the chain file: relative paths in its hooks start there."""
    stops: Mapping[str, Mapping[str, Stop]]
    """How instances are stopped: tier -> template."""
    previews: Mapping[str, Preview]
    """Tiers whose new instances can be looked at before the switch."""
    carrying: dict[str, set[str]]
    """Tier -> names of the instances that may carry traffic now; the controller keeps it up to date."""
    verdict: Callable[[Collection[int]], str] = field(default=lambda _: "")
    """The verdict of the probes over these rollouts, in one line. It reads ledgers, so it takes time."""
    timing: EngineTiming = field(default=EngineTiming())

    def stop_of(self, instance: Instance) -> tuple[Signals, StopTo]:
        """The stop signal of an instance, and the processes of it that get it."""
        traits, stop = self.hops[instance.tier].traits, self._stop(instance.tier, instance.template)
        return Signals[f"SIG{stop.signal}"] if stop.signal else traits.stop_signal, stop.to or traits.stop_to

    def guards_of(self, tier: str) -> tuple[Guard, ...]:
        """The guards of a tier."""
        return self.guarding[tier].guards if tier in self.guarding else ()

    def stop_grace(self, tier: str) -> dict[str, float]:
        """Template -> seconds from the stop signal to SIGKILL, where the chain file has such a time."""
        return {name: stop.grace for name, stop in self.stops[tier].items() if stop.grace is not None}

    def carry(self, tier: str, members: Iterable[Member]) -> None:
        """These are the members of the tier at present. Routers that are instances must know those with traffic."""
        self.carrying[tier] = {member.name for member in members if _carries(member)}

    def carry_changes(self, tier: str, changed: Iterable[Member]) -> None:
        """The same of members that have changed, new ones and such that are gone included."""
        for member in changed:
            (self.carrying[tier].add if _carries(member) else self.carrying[tier].discard)(member.name)

    def _stop(self, tier: str, template: str) -> Stop:
        return self.stops[tier].get(template, Stop())


ASKING = 1.0
"""Seconds for a look of the guard, and for its source to answer."""


def rollout_settings(
    tier: Tier,
    *,
    weighed: bool,
    guards: Collection[Guard] = (),
    ask_first: bool = False,
    needs_traffic: bool = False,
    follows_health: bool = False,
    stop_grace: Mapping[str, float] = MappingProxyType({}),
) -> RolloutSettings:
    """The numbers that the core needs of a tier, from the chain file."""
    update = tier.update
    # A guard that has no sample yet has proved nothing: the rollout ends after its first one, or is paused without.
    guarded = max((guard.known_after for guard in guards), default=0.0)
    least = max(5 * update.min_ready, guarded + ASKING if guarded else 0.0)
    watch = least if update.watch is None else update.watch
    return RolloutSettings(
        tier=tier.name,
        size=tier.size,
        surge=tier.surge,
        unavailable=tier.unavailable,
        min_ready=update.min_ready,
        progress_deadline=update.progress_deadline,
        drain_deadline=tier.drain.deadline,
        cut_at_deadline=tier.drain.policy == "cut",
        long_lived_after=tier.drain.long_lived.after if tier.drain.long_lived.policy == "cut" else inf,
        long_lived_asked_after=tier.drain.long_lived.after if tier.drain.long_lived.policy == "ask" else 0.0,
        strategy=update.strategy,
        steps=tuple(_canary_step(step) for step in update.steps),
        bake=update.bake,
        watch=watch,
        watch_limit=update.progress_deadline if update.watch is None else update.watch,
        hold=update.switch == "when-promoted",
        fresh_baseline=update.baseline == "fresh",
        by_load=update.order == "in-flight",
        weighed=weighed,
        ask_first=ask_first,
        needs_traffic=needs_traffic,
        follows_health=follows_health,
        stop_grace=stop_grace,
    )


def _canary_step(step: Step) -> CanaryStep:
    if step.set_weight is not None:
        return CanaryStep("share", share=step.set_weight)
    if step.analyse is not None:
        return CanaryStep("analyse", stay=step.analyse)
    return CanaryStep("pause", stay=step.pause if isinstance(step.pause, float) else None)


def check_templates(runtime: ChainRuntime, journal: Journal, undo: Mapping[str, str] | None = None) -> None:
    """Check that every template in use is there and unchanged: instances are replaced from it, and an unfinished
    rollout goes back to it. `undo`: tier -> template that is returned to now. Raises ChangeoverError."""
    hashes_in_use = runtime.hashes_in_use()
    release = journal.unfinished_release()
    for tier in runtime.chain.tiers:
        running = {template_of(member.template) for member in journal.fleet(tier.name)}
        state = journal.tier(tier.name)
        back = {state.previous if state else None, (undo or {}).get(tier.name)}
        if release is not None:
            back.add(release.from_templates.get(tier.name))
        for name in sorted(running | {template_of(one) for one in back if one}):
            used, now = hashes_in_use[tier.name].get(name), runtime.hashes[tier.name].get(name)
            if used is not None and used != now:
                since = "while instances of it are running" if name in running else "since instances of it ran"
                raise fail(
                    f"Template {name} of tier {tier.name} was {'changed' if now else 'removed'} {since}",
                    state="Nothing was changed in the chain.",
                    next=f"Restore {name} as it was, and give the change a template name of its own.",
                )
