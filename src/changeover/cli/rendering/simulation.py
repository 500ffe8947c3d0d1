"""Simulated rollouts as `simulate` prints them: one JSON object, or a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from changeover.cli.options.distributions import RATE, SIZE, TIME
from changeover.model.units import human_seconds
from changeover.rollout.simulation.model import SimulatedTier, SimulationResult
from changeover.rollout.tier.settings import RolloutSettings


@dataclass(frozen=True)
class SimulatedRollouts:
    """All simulated rollouts of one tier."""

    rules: RolloutSettings
    results: tuple[SimulationResult, ...]

    @property
    def clean(self) -> bool:
        """Every rollout completed without cutting a request."""
        return all(r.outcome == "completed" and not r.cut_uploads and not r.cut_requests for r in self.results)

    @property
    def completed(self) -> int:
        return sum(r.outcome == "completed" for r in self.results)

    def mean(self, figure: str) -> float | None:
        """The mean over the rollouts that have the figure; None if none has."""
        values = [value for r in self.results if (value := getattr(r, figure)) is not None]
        return fmean(values) if values else None

    @property
    def reason(self) -> str:
        """Why a rollout did not complete; empty if all did."""
        return next((f"{r.outcome}: {r.reason}" for r in self.results if r.outcome != "completed"), "")


_MEANS = {
    "seconds": "seconds",
    "lower_bound": "lower_bound_seconds",
    "ratio": "ratio_to_lower_bound",
    "cut_uploads": "cut_uploads",
    "cut_requests": "cut_requests",
    "lost_uploads": "lost_uploads",
    "lost_requests": "lost_requests",
    "failures": "failures",
    "healed": "replaced_failures",
    "steps": "events",
}
"""Figure of a result -> its field in the object."""


def data(done: Sequence[SimulatedRollouts], simulated: SimulatedTier, seed: int) -> dict[str, Any]:
    """The object of `simulate --json`. Times in seconds; extremes over all runs where the name says so, else means."""
    return {
        "seed": seed,
        "assumptions": assumptions(simulated),
        "tiers": [
            {
                **_settings(one.rules),
                "runs": len(one.results),
                "completed": one.completed,
                "reason": one.reason or None,
                **{field: _rounded(one.mean(figure)) for figure, field in _MEANS.items()},
                "min_seconds": _rounded(min(r.seconds for r in one.results)),
                "max_seconds": _rounded(max(r.seconds for r in one.results)),
                "max_instances": max(r.peak for r in one.results),
                "min_serving": min(r.fewest for r in one.results),
            }
            for one in done
        ],
        "seconds": _rounded(_together(done)),
        "clean": all(one.clean for one in done),
    }


def _settings(settings: RolloutSettings) -> dict[str, Any]:
    return {
        "tier": settings.tier,
        "strategy": settings.strategy,
        "size": settings.size,
        "surge": settings.surge,
        "unavailable": settings.unavailable,
        "min_ready_seconds": settings.min_ready,
        "progress_deadline_seconds": settings.progress_deadline,
        "drain_deadline_seconds": settings.drain_deadline,
        "cut_at_deadline": settings.cut_at_deadline,
        "bake_seconds": settings.bake,
        "idlest_first": settings.by_load,
        "waits_for_promotion": settings.hold,
        "fresh_baseline": settings.fresh_baseline,
        "weighted_routers": settings.weighed,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else int(value) if value == int(value) else round(value, 3)


def _together(done: Sequence[SimulatedRollouts]) -> float | None:
    """Seconds for all tiers one after the other; None if one does not complete."""
    if any(one.completed < len(one.results) for one in done):
        return None
    return sum(one.mean("seconds") or 0.0 for one in done)


def assumptions(simulated: SimulatedTier) -> dict[str, str | float]:
    """The assumptions, under the names of the command's options."""
    return {
        "uploads-per-second": simulated.uploads.rate,
        "upload-size": SIZE.spell(simulated.uploads.work),
        "client-rate": RATE.spell(simulated.uploads.pace),
        "requests-per-second": simulated.requests.rate,
        "request-time": TIME.spell(simulated.requests.work),
        "start-time": TIME.spell(simulated.start),
        "start-failures": simulated.start_failures,
        "failures": "0s" if simulated.lifetime == inf else human_seconds(simulated.lifetime),
        "confirm-time": TIME.spell(simulated.confirm),
        "stop-time": TIME.spell(simulated.stop),
        "verdict-time": TIME.spell(simulated.verdict),
        "look": human_seconds(simulated.look),
    }


def picture(done: Sequence[SimulatedRollouts], simulated: SimulatedTier, seed: int) -> Group:
    """The table that `simulate` prints."""
    table = Table("", *(one.rules.tier for one in done))
    for title, figure in _ROWS.items():
        table.add_row(title, *map(figure, done))
    notes = [Text(f"{one.rules.tier} {one.reason}", style="yellow") for one in done if one.reason]
    if len(done) > 1 and (seconds := _together(done)) is not None:
        notes.append(Text(f"One tier after the other: {_duration(seconds)}"))
    assumed = "  ".join(f"--{name} {value}" for name, value in assumptions(simulated).items())
    return Group(table, *notes, Text(f"Assumptions: {assumed}  --seed {seed}", style="dim"))


def _takes(one: SimulatedRollouts) -> str:
    text = _duration(one.mean("seconds"))
    if len(one.results) > 1:
        every = [r.seconds for r in one.results]
        text += f" ({_duration(min(every))} to {_duration(max(every))})"
    return text


def _duration(value: float | None) -> str:
    return "-" if value is None else human_seconds(round(value, 1) if value < 60 else round(value))


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def _ratio(one: SimulatedRollouts) -> str:
    ratio = one.mean("ratio")
    return "-" if ratio is None else f"{ratio:.2f}"


def _instances(one: SimulatedRollouts) -> str:
    less = f" - {one.rules.unavailable:,}" if one.rules.unavailable else ""
    more = one.rules.size if one.rules.strategy == "blue-green" else one.rules.surge
    return f"{one.rules.size:,} + {more:,}{less}"


_ROWS: dict[str, Callable[[SimulatedRollouts], str]] = {
    "strategy": lambda one: one.rules.strategy,
    "instances + surge": _instances,
    "duration": _takes,
    "lower bound": lambda one: _duration(one.mean("lower_bound")),
    "ratio to lower bound": _ratio,
    "most instances": lambda one: f"{max(r.peak for r in one.results):,}",
    "fewest serving": lambda one: f"{min(r.fewest for r in one.results):,}",
    "uploads cut": lambda one: _figure(one.mean("cut_uploads")),
    "requests cut": lambda one: _figure(one.mean("cut_requests")),
    "instances failed": lambda one: _figure(one.mean("failures")),
    "of these replaced": lambda one: _figure(one.mean("healed")),
    "requests lost with them": lambda one: _figure((one.mean("lost_uploads") or 0) + (one.mean("lost_requests") or 0)),
    "steps": lambda one: _figure(one.mean("steps")),
}
