"""Calls per minute of a controller to Google's API in a roll, and its CPU: groups of 10 and 100 hollow instances.

The group is on the tests' fake of Compute Engine, which answers each call after a latency. Beside the figures stand
what `plan` gives as the most, and the default quota. The fake's time runs 20 times as fast as Google's and the looks
do not, so a real roll makes fewer calls a minute. `bench/gcp_calls.py [SIZE ...]` measures other sizes.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from shared import write_results

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.gcp.chains import TOKEN, GcpChain, agent_world
from tests.gcp.fakes import free_port, running, until

SIZES = (10, 100)
LATENCY = 0.15
"""Seconds until an answer."""
LOOK = "5s"
STARTS = 600.0
"""Seconds until the chain must be adopted, and until the roll creates VMs."""
WINDOW = 20.0
"""Seconds of one measurement; the first one begins with the first new VMs."""
ROUNDS = 4


def cpu(pid: int) -> float:
    """Seconds of CPU of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(size: int, folder: Path) -> dict[str, Any]:
    world = agent_world(size=size, speed=20)
    port = free_port()
    world["hollow"] = {"agent_port": port, "token": TOKEN, "requests": 2, "drains": 10}
    world["latency"] = LATENCY
    world["resources"]["global/healthChecks"][1]["httpHealthCheck"]["port"] = port
    with running(world, folder / "fake") as fake:
        agent = {"port": port, "token_env": "AGENT_TOKEN"}
        chain = GcpChain(fake, folder / "chain", tier={"agent": agent, "update": {"max_surge": "10%"}}, look=LOOK)
        chain.write(agent=agent, update={"max_surge": "10%", "min_ready": "10s"})
        began = time.monotonic()
        adopting = chain.start("up")
        _, error = adopting.communicate(timeout=STARTS)
        assert adopting.returncode == 0, error[-1000:]
        started = time.monotonic() - began
        planned = json.loads(chain.run("plan", "web", "--to", "v2", "--json", code=4))["tiers"][0]
        controller = chain.start("roll", "web", "--to", "v2")
        calls, shares, methods = [], [], Counter[str]()
        try:
            until(lambda: fake.log("instanceGroupManagers.createInstances"), "the first new VMs", STARTS)
            for _ in range(ROUNDS):
                before, spent, began = len(fake.log()), cpu(controller.pid), time.monotonic()
                time.sleep(WINDOW)
                seconds = time.monotonic() - began
                if controller.poll() is not None:
                    break
                made = fake.log()[before:]
                methods += Counter(str(call.get("method")) for call in made)
                calls.append(len(made) * 60 / seconds)
                shares.append((cpu(controller.pid) - spent) / seconds)
        finally:
            controller.kill()
            controller.wait()
    assert calls, "the roll ended within one measurement"
    return {
        "size": size,
        "up_seconds": round(started, 1),
        "rounds": len(calls),
        "calls_per_minute": round(statistics.median(calls)),
        "planned_per_minute": planned["calls_per_minute"],
        "highest_per_minute": round(max(calls)),
        "methods": dict(methods.most_common()),
        "cpu": round(statistics.median(shares), 3),
        "quota_per_minute": planned["calls_quota"],
    }


def main() -> None:
    console = Console()
    table = Table(
        "instances",
        "calls per minute",
        "at most, by plan",
        "default quota",
        "CPU of the controller",
        title="A roll, 10 % at once",
    )
    found = []
    for size in [int(one) for one in sys.argv[1:]] or SIZES:
        with tempfile.TemporaryDirectory() as folder:
            found.append(measure(size, Path(folder)))
        one = found[-1]
        calls = (one["calls_per_minute"], one["planned_per_minute"], one["quota_per_minute"])
        table.add_row(str(size), *map(str, calls), f"{one['cpu']:.1%}")
    console.print(table)
    write_results("gcp_calls", found, console)


if __name__ == "__main__":
    main()
