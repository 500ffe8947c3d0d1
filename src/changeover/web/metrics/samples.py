"""The values of one chain's metrics, from its journal, its chain file and its figures.

What is not known has no value: a scrape that shows 0 has seen nothing, not looked nowhere. Refuses to write, and to ask
any instance.
"""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from changeover.engine.figures import LATENCIES, Figures, Labels, Values, bound_text
from changeover.engine.journal.lease import KEEPER
from changeover.engine.journal.reading import JournalReader
from changeover.engine.journal.records import RolloutRow
from changeover.engine.runtime import rollout_settings
from changeover.kit.certificates import end_of
from changeover.model.chain import Tier
from changeover.model.chainfile import ParsedChain
from changeover.model.guard import resolve
from changeover.model.revision import template_of
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.phases import Phase
from changeover.rollout.strategies import canary
from changeover.rollout.tier import context
from changeover.rollout.tier.actions import status_of
from changeover.rollout.tier.settings import RolloutSettings
from changeover.rollout.tier.state import Holding, Prepared, Preparing, Stepping, TierState
from changeover.web.metrics.definitions import METRICS, Metric
from changeover.web.metrics.log_counts import LogCounts

_PASSING = frozenset(Phase) - {Phase.ADMITTED, Phase.GONE}
"""Phases that an instance is to leave soon."""


class Samples:
    """Values by metric. A metric without one is not shown."""

    def __init__(self) -> None:
        self.values: dict[str, list[tuple[tuple[str, ...], float]]] = defaultdict(list)
        self.histograms: dict[str, list[tuple[tuple[str, ...], list[tuple[str, float]], float]]] = defaultdict(list)
        """Labels, cumulative buckets by upper bound, sum."""

    def add(self, name: str, value: float | None, *labels: str) -> None:
        """Nothing, for a value that is unknown or not finite."""
        assert len(labels) == len(METRICS[name].labels), name
        if value is not None and isfinite(value):
            self.values[name].append((labels, float(value)))

    def add_times(self, name: str, times: Sequence[float], *labels: str) -> None:
        """A histogram of these durations."""
        bounds = METRICS[name].buckets
        buckets = [(bound_text(bound), float(sum(time <= bound for time in times))) for bound in bounds]
        self.histograms[name].append((labels, [*buckets, ("+Inf", float(len(times)))], sum(times)))


def take_chain(
    out: Samples,
    chain: str,
    journal: JournalReader,
    parsed: ParsedChain | None,
    counts: LogCounts,
    figures: Figures,
    now: float,
) -> None:
    """Add the values of one chain. `chain`: its label. `parsed`: None where it was never started."""
    up = journal.is_up()
    out.add("chain_up", up, chain)
    _take_processes(out, chain, journal, up)
    disk = os.statvfs(journal.folder)
    out.add("state_disk_free_bytes", disk.f_bavail * disk.f_frsize, chain)
    out.add("state_disk_size_bytes", disk.f_blocks * disk.f_frsize, chain)
    rollouts = journal.rollouts()
    _take_ended(out, chain, rollouts)
    _take_counts(out, chain, counts, {*journal.tiers(), *(row.tier for row in rollouts)})
    _take_figures(out, chain, figures, _thresholds(parsed) if parsed and up else {})
    last = {row.tier: row for row in rollouts}
    for tier in parsed.chain.tiers if parsed else ():
        state, settings = journal.tier(tier.name), rollout_settings(tier, weighed=False)
        _take_rollout(out, chain, tier, state, last.get(tier.name), counts)
        if not up or state is None or parsed is None:
            continue
        fleet = journal.fleet(tier.name)
        _take_tier(out, chain, tier, state, settings, fleet, now)
        if state.rollout is not None:
            _take_steps(out, chain, tier, state, settings, fleet, now)
        if tier is parsed.chain.tiers[0]:
            end = _certificate_end(parsed, tier, template_of(state.goal), journal.folder)
            out.add("certificate_expiry_timestamp_seconds", end, chain, tier.name)


def _take_processes(out: Samples, chain: str, journal: JournalReader, up: bool) -> None:
    if not journal.sees_processes():
        return
    if up and (keeper := journal.keeper()) is not None:
        out.add("keeper_up", keeper.is_alive(), chain)
    if journal.rollouts(unfinished=True):
        holder = journal.holder()
        out.add("controller_up", holder is not None and holder.purpose != KEEPER and holder.is_alive(), chain)


def _take_tier(
    out: Samples, chain: str, tier: Tier, state: TierState, settings: RolloutSettings, fleet: Fleet, now: float
) -> None:
    name, version = tier.name, template_of(state.goal)
    out.add("tier_info", 1, chain, name, tier.kind, version, status_of(state.state).value)
    out.add("tier_size_instances", tier.size, chain, name)
    out.add("tier_floor_instances", tier.size - settings.unavailable, chain, name)
    out.add("tier_serving_instances", fleet.serving, chain, name)
    out.add("tier_consecutive_failures", state.failures, chain, name)
    numbers: dict[tuple[str, str], int] = defaultdict(int)
    oldest: dict[Phase, float] = {}
    for member in fleet:
        numbers[template_of(member.template), member.phase.value] += 1
        if member.phase in _PASSING:
            oldest[member.phase] = min(oldest.get(member.phase, now), member.since)
    for (template, phase), number in sorted(numbers.items()):
        out.add("instances", number, chain, name, template, phase)
    for phase, since in oldest.items():
        out.add("phase_oldest_seconds", max(0.0, now - since), chain, name, phase.value)
    draining = list(fleet.where(Phase.DRAINING))
    deadlines = [member.deadline for member in draining if member.deadline is not None]
    out.add("draining_instances", len(draining), chain, name)
    out.add("drain_remaining_seconds", min(deadlines) - now if deadlines else None, chain, name)
    out.add("overdue_drains", sum(deadline < now for deadline in deadlines), chain, name)
    out.add("router_unconfirmed_instances", fleet.count((Phase.LEAVING, Phase.FAILED)), chain, name, "removal")
    if not isinstance(state.position, Preparing | Prepared):  # they wait for the switch, and for no router
        out.add("router_unconfirmed_instances", fleet.count((Phase.READY,)), chain, name, "admission")


def _take_steps(
    out: Samples, chain: str, tier: Tier, state: TierState, settings: RolloutSettings, fleet: Fleet, now: float
) -> None:
    position = state.position
    if isinstance(position, Stepping | Holding) and context.canary_step(settings, state) is not None:
        actual = canary.actual_share(fleet, state.goal)
        out.add("rollout_step", position.step + 1, chain, tier.name)
        out.add("rollout_steps", len(settings.steps), chain, tier.name)
        out.add("canary_target_ratio", context.share(settings, state) / 100, chain, tier.name)
        out.add("canary_actual_ratio", None if actual is None else actual / 100, chain, tier.name)
    if not state.stopped:
        out.add("step_remaining_seconds", max(0.0, context.step_ends(settings, state) - now), chain, tier.name)


def _take_rollout(
    out: Samples, chain: str, tier: Tier, state: TierState | None, row: RolloutRow | None, counts: LogCounts
) -> None:
    if row is None:
        return
    strategy, phase = "", str(row.outcome or "unknown")
    if row.ended is None:
        strategy = state.rollout.strategy if state is not None and state.rollout is not None else tier.update.strategy
        phase = status_of(state.state).value if state is not None else "unknown"
        out.add("rollout_started_timestamp_seconds", row.started, chain, tier.name)
        progress = counts.progress.get(row.id, row.started)
        out.add("rollout_progress_timestamp_seconds", progress, chain, tier.name)
    else:
        out.add("rollout_ended_timestamp_seconds", row.ended, chain, tier.name, phase)
    versions = template_of(row.from_template), template_of(row.to_template)
    out.add("rollout_info", 1, chain, tier.name, str(row.id), strategy, *versions, phase)


def _take_ended(out: Samples, chain: str, rollouts: Sequence[RolloutRow]) -> None:
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rollouts:
        if row.ended is not None:
            times[row.tier, row.outcome or "unknown"].append(row.ended - row.started)
    for (tier, outcome), durations in sorted(times.items()):
        out.add_times("rollout_duration_seconds", durations, chain, tier, outcome)


def _take_counts(out: Samples, chain: str, counts: LogCounts, tiers: set[str]) -> None:
    for tier in sorted(tiers):
        # The whole log was read, so these are 0 where nothing happened: only so is a first increase seen.
        out.add("instance_admissions_total", counts.admissions[tier], chain, tier)
        out.add("instance_failures_total", counts.failures[tier], chain, tier)
        out.add("instance_replacements_total", counts.replacements[tier], chain, tier)
        out.add("interruptions_total", counts.interruptions[tier], chain, tier)
    ended = {*counts.drains, *((tier, end) for tier in tiers for end in ("emptied", "deadline"))}
    for tier, end in sorted(ended):
        out.add_times("drain_duration_seconds", counts.drains.get((tier, end), ()), chain, tier, end)
    for tier, durations in sorted(counts.ready.items()):
        out.add_times("time_to_ready_seconds", durations, chain, tier)


def _thresholds(parsed: ParsedChain) -> dict[tuple[str, Labels], float]:
    """What the guards of the chain file allow: it holds also while no controller samples anything."""
    return {
        ("guard_threshold", (tier.name, f"{guard.name}/{condition.name}")): condition.at_most
        for tier in parsed.chain.tiers
        for guard in resolve(tier.update.guard, parsed.chain.guards)
        for condition in guard.conditions
        if condition.at_most is not None
    }


def _take_figures(out: Samples, chain: str, figures: Figures, thresholds: Values) -> None:
    for (name, labels), value in sorted(figures.counts.items()):
        if name in ("probe_requests_total", "probe_version_requests_total"):
            out.add(name, value, chain, *labels)
        elif name in ("probe_latency_seconds_sum", "probe_version_latency_seconds_sum"):
            histogram = name.removesuffix("_sum")
            buckets, total = [], 0.0
            for bound in (*map(bound_text, LATENCIES), "+Inf"):
                total += figures.counts.get((f"{histogram}_bucket", (*labels, bound)), 0.0)
                buckets.append((bound, total))
            out.histograms[histogram].append(((chain, *labels), buckets, value))
    for (name, labels), value in sorted({**thresholds, **figures.measured}.items()):
        if _is_gauge(METRICS.get(name), labels):  # another version of the program may measure something else
            out.add(name, value, chain, *labels)


def _is_gauge(metric: Metric | None, labels: tuple[str, ...]) -> bool:
    return metric is not None and metric.kind == "gauge" and len(metric.labels) == len(labels) + 1


def _certificate_end(parsed: ParsedChain, tier: Tier, template: str, state: Path) -> float | None:
    """When the certificate that clients see expires; None where there is none, or it cannot be read."""
    settings = parsed.settings[tier.name].get(template)
    tls: Any = getattr(settings, "tls", False)  # kinds differ in their settings
    if tls is False or parsed.chain.platform.kind != "local":
        return None
    file = state / "tls" / "edge.pem" if tls is None else state / tls.certificate
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            return None
        return end_of(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
