"""Compare the duration of rollouts with their lower bound: 3, 10 and 30 instances, surge 1 and 25 %.

A real chain, Envoy in front of the application, with a few GETs and slow uploads. The lower bound is the time that an
ideal controller needs for the measured starts and drains (`rollout/simulation/lower_bound.py`). A start lasts from the
creation until the instance is ready, a drain from the confirmed removal until the last request in flight. At the end it
watches the newest instance, for as long as the default of `update.watch` says. The second lower bound, with stops, also
includes the time from the stop signal until every process of the instance has exited: an instance counts against
`size` plus `max_surge` until then (invariant 2 of ARCHITECTURE.md), so an ideal controller has to wait for it, too.

`bench/rollouts.py [SIZE ...]` measures other sizes.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from shared import RunningChain, write_results

from changeover.model.units import resolve_count
from changeover.rollout.simulation.lower_bound import lower_bound
from changeover.rollout.tier.settings import RolloutSettings

SIZES = (3, 10, 30)
SURGES: tuple[int | str, ...] = (1, "25%")
MIN_READY = 1.0
WATCH = 5 * MIN_READY
"""The default of `update.watch` for drains that are no longer."""
UPLOADS = 4
PROBE = ("--rate", 40, "--connections", 8, "--upload-size", "4MB", "--upload-time", "4s")


def chain(size: int, surge: int | str) -> dict[str, Any]:
    return {
        "name": "bench",
        "tiers": [
            {"name": "gateway", "kind": "envoy", "size": 1, "templates": {"v1": {}}},
            {
                "name": "runtime",
                "kind": "app",
                "size": size,
                "update": {"max_surge": surge, "min_ready": f"{MIN_READY:g}s", "progress_deadline": "120s"},
                "templates": {"v1": {"version": "v1"}, "v2": {"version": "v2"}},
            },
        ],
    }


def measure(size: int, surge: int | str) -> dict[str, Any]:
    """Measure one rollout of a new chain."""
    with (
        tempfile.TemporaryDirectory() as folder,
        RunningChain(Path(folder), chain(size, surge)) as running,
        running.probing(*PROBE, uploads=UPLOADS) as verdict,
    ):
        rolled = running.run("roll", "runtime", "--to", "v2")
    least, with_stops = least_time(size, surge, rolled), least_time(size, surge, rolled, stops=True)
    return {
        "size": size,
        "surge": surge,
        "seconds": rolled["seconds"],
        "lower bound": round(least, 3),
        "ratio": round(rolled["seconds"] / least, 3),
        "lower bound with stops": round(with_stops, 3),
        "ratio with stops": round(rolled["seconds"] / with_stops, 3),
        "verdict": verdict["summary"],
    }


def least_time(size: int, surge: int | str, rolled: Mapping[str, Any], *, stops: bool = False) -> float:
    """The lower bound of that rollout in seconds, with the duration of each stop or without."""
    starts, drains = [], []
    for one in rolled["instances"]:
        times = one["times"]
        if one["template"] == "v2":
            starts.append(times["warming"] - times["creating"])
        else:
            stopped = times["gone"] - times["stopping"] if stops else 0.0
            drains.append(stopped + max(0.0, (one["last_in_flight_at"] or 0.0) - times["draining"]))
    rules = RolloutSettings(
        tier="runtime",
        size=size,
        surge=resolve_count(surge, size, up=True),
        unavailable=0,
        min_ready=MIN_READY,
        progress_deadline=120.0,
        drain_deadline=600.0,
        cut_at_deadline=False,
        watch=WATCH,
    )
    return lower_bound(rules, starts, drains)


def main() -> None:
    console = Console()
    table = Table("instances", "surge", "seconds", "lower bound", "ratio", "with stops", "broken")
    found = []
    for size in [int(word) for word in sys.argv[1:]] or SIZES:
        for surge in SURGES:
            console.print(f"rolling {size} instances, surge {surge}", style="dim")
            one = measure(size, surge)
            found.append(one)
            row = (
                one["size"],
                one["surge"],
                f"{one['seconds']:.1f}",
                f"{one['lower bound']:.1f}",
                f"{one['ratio']:.2f}",
            )
            table.add_row(*map(str, row), f"{one['ratio with stops']:.2f}", one["verdict"])
    console.print(table)
    write_results("rollouts", found, console)


if __name__ == "__main__":
    main()
