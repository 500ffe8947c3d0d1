"""The cost of a simulated rollout of 100, 1,000, 10,000 and 100,000 instances, each in its own process.

The defaults of `changeover simulate`, with failures, varying start times, a surge of 25 % and a deadline that cuts.
Prints seconds, peak memory (VmHWM), and for each step the microseconds of CPU and the function calls; other load on
the machine does not change the last. Neither may grow with the fleet. The rounds of the sizes are interleaved, and the
least CPU time counts.
"""

from __future__ import annotations

import cProfile
import gc
import json
import pstats
import subprocess
import sys
import time
from pathlib import Path
from random import Random

from rich.console import Console
from rich.table import Table
from shared import write_results

from changeover.rollout.simulation.distributions import LogNormal
from changeover.rollout.simulation.model import SimulatedTier
from changeover.rollout.simulation.simulate import Simulation
from changeover.rollout.tier.settings import RolloutSettings

SIZES = (100, 1_000, 10_000, 100_000)
ROUNDS = 2
WORLD = SimulatedTier(start=LogNormal(10.0, 1.5), lifetime=30 * 86_400.0)


def rules(size: int) -> RolloutSettings:
    return RolloutSettings(
        tier="web",
        size=size,
        surge=size // 4,
        unavailable=0,
        min_ready=5.0,
        progress_deadline=120.0,
        drain_deadline=300.0,
        cut_at_deadline=True,
    )


def measure(size: int) -> dict[str, float | str | None]:
    """Simulate one rollout in this process."""
    gc.disable()  # as the command does
    began, cpu = time.perf_counter(), time.process_time()
    simulation = Simulation(rules(size), WORLD, Random(1))
    simulation.run()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    result = simulation.result()
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return {
        "seconds": seconds,
        "CPU s": cpu,
        "peak MB": float(status.partition("VmHWM:")[2].split()[0]) / 1000,
        "steps": result.steps,
        "CPU us/step": cpu / result.steps * 1e6,
        "outcome": result.outcome,
        "rollout s": result.seconds,
        "ratio": result.ratio,
        "cut uploads": result.cut_uploads,
        "failures": result.failures,
    }


def calls(size: int) -> dict[str, float]:
    """Count the function calls for each step of the same rollout."""
    gc.disable()
    simulation = Simulation(rules(size), WORLD, Random(1))
    profile = cProfile.Profile()
    profile.enable()
    simulation.run()
    profile.disable()
    return {"calls/step": vars(pstats.Stats(profile))["total_calls"] / simulation.steps}


def main() -> None:
    if len(sys.argv) == 3:
        what, size = sys.argv[1], int(sys.argv[2])
        print(json.dumps(measure(size) if what == "measure" else calls(size)))
        return
    console = Console()
    best = {size: _in_new_process("measure", size, console) for size in SIZES}
    for _ in range(ROUNDS - 1):
        for size in SIZES:
            best[size] = min(best[size], _in_new_process("measure", size, console), key=lambda seen: seen["CPU s"])
    for size in SIZES:
        best[size] |= _in_new_process("calls", size, console)
    table = Table("instances", "s", "CPU s", "peak MB", "steps", "µs/step", "calls/step", "ratio")
    for size, seen in best.items():
        table.add_row(
            f"{size:,}",
            f"{seen['seconds']:.1f}",
            f"{seen['CPU s']:.1f}",
            f"{seen['peak MB']:.0f}",
            f"{seen['steps']:,}",
            f"{seen['CPU us/step']:.0f}",
            f"{seen['calls/step']:.0f}",
            f"{seen['ratio']:.2f}",
        )
    console.print(table)
    write_results("simulate", {"rounds": ROUNDS, "least CPU": best}, console)


def _in_new_process(what: str, size: int, console: Console) -> dict[str, float]:
    """Run one measurement in a new process."""
    console.print(f"{what}: {size:,} instances", style="dim")
    out = subprocess.run([sys.executable, __file__, what, str(size)], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(out.stdout)
    return found


if __name__ == "__main__":
    main()
