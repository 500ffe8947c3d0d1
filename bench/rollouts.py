"""How long a rollout takes on this machine, against the least it could take: 3, 10 and 30 instances, surge 1 and 25 %.

A real chain, Envoy in front of the application, under a light load of GETs and slow uploads. The floor is what an ideal
controller would need for the starts and drains that really were: each start from its creation until it was ready, each
drain from the confirmed removal until the last request that was seen in flight (`rollout/floor.py`). The second floor
also grants the time that the application took to end after its stop signal, during which its place is not free.

`bench/rollouts.py [SIZE ...]` for other sizes.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from changeover.model.units import resolve_count
from changeover.rollout.simulation.lower_bound import floor
from changeover.rollout.tier.state import RolloutSettings

SIZES = (3, 10, 30)
SURGES: tuple[int | str, ...] = (1, "25%")
MIN_READY = 1.0
LOAD = ("--rate", "40", "--connections", "8", "--uploads", "4", "--upload-size", "4MB", "--upload-time", "4s")


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


def changeover(folder: Path, *words: str) -> Any:
    """One command, as JSON."""
    argv = [sys.executable, "-m", "changeover", *words, "--json"]
    done = subprocess.run(argv, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return json.loads(done.stdout)


@contextlib.contextmanager
def probing(folder: Path, verdict: dict[str, Any]) -> Iterator[None]:
    argv = [sys.executable, "-m", "changeover", "probe", "--json", *LOAD]
    probe = subprocess.Popen(argv, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert probe.stderr is not None
    for line in probe.stderr:
        if " 4 in flight" in line:
            break
    try:
        yield
    finally:
        probe.send_signal(signal.SIGTERM)
        verdict |= json.loads(probe.communicate()[0])


def measure(size: int, surge: int | str) -> dict[str, Any]:
    """One rollout of a chain of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder, verdict = Path(name), dict[str, Any]()
        (folder / "chain.yaml").write_text(yaml.safe_dump(chain(size, surge)))
        changeover(folder, "up", "-f", "chain.yaml")
        try:
            with probing(folder, verdict):
                rolled = changeover(folder, "roll", "runtime", "--to", "v2")
        finally:
            changeover(folder, "down")
    least, with_stops = least_time(size, surge, rolled), least_time(size, surge, rolled, stops=True)
    return {
        "size": size,
        "surge": surge,
        "seconds": rolled["seconds"],
        "floor": round(least, 3),
        "ratio": round(rolled["seconds"] / least, 3),
        "floor with stops": round(with_stops, 3),
        "ratio with stops": round(rolled["seconds"] / with_stops, 3),
        "verdict": verdict["summary"],
    }


def least_time(size: int, surge: int | str, rolled: Mapping[str, Any], *, stops: bool = False) -> float:
    """The floor of that rollout, in seconds; with the time that each stop took, or without."""
    starts, drains = [], []
    for one in rolled["instances"]:
        times = one["times"]
        if one["template"] == "v2":
            starts.append(times["warming"] - times["creating"])
        else:
            stopped = times["gone"] - times["stopping"] if stops else 0.0
            drains.append(stopped + max(0.0, (one["last_in_flight"] or 0.0) - times["draining"]))
    rules = RolloutSettings(
        tier="runtime",
        size=size,
        surge=resolve_count(surge, size, up=True),
        unavailable=0,
        min_ready=MIN_READY,
        progress_deadline=120.0,
        drain_deadline=600.0,
        cut_at_deadline=False,
    )
    return floor(rules, starts, drains)


def main() -> None:
    console = Console()
    table = Table("instances", "surge", "took s", "floor s", "ratio", "with stops", "broken")
    found = []
    for size in [int(word) for word in sys.argv[1:]] or SIZES:
        for surge in SURGES:
            console.print(f"rolling {size} instances, surge {surge}", style="dim")
            one = measure(size, surge)
            found.append(one)
            row = (one["size"], one["surge"], f"{one['seconds']:.1f}", f"{one['floor']:.1f}", f"{one['ratio']:.2f}")
            table.add_row(*map(str, row), f"{one['ratio with stops']:.2f}", one["verdict"])
    console.print(table)
    results = Path(__file__).parent / "results" / "rollouts.json"
    results.parent.mkdir(exist_ok=True)
    results.write_text(json.dumps(found, indent=1))
    console.print(f"written to {results}", style="dim")


if __name__ == "__main__":
    main()
