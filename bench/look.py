"""The cost of a controller's look at a tier of 10, 100 and 1,000 instances, for each instance.

A quarter of them drains, the others serve and are due to be asked. The local platform is real: its records, processes
(all are this one) and the kernel's connections. Hop and router are doubles that answer at once. Prints the microseconds
of CPU and the function calls for each instance; other load on the machine does not change the last. Neither may grow
with the tier. The rounds of the sizes are interleaved, and the least CPU time counts.
"""

from __future__ import annotations

import asyncio
import cProfile
import os
import pstats
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from rich.console import Console
from rich.table import Table
from shared import write_results

from changeover.engine.observe import Observer
from changeover.hops.registry import HOPS
from changeover.kit import process
from changeover.model.chain import Chain
from changeover.model.instance import Address, InFlight, Instance, LaunchSpec
from changeover.platforms.local.platform import LocalPlatform
from changeover.platforms.local.state_files import write_instance
from changeover.ports import Hop, LaunchContext, Membership, Router
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase

SIZES = (10, 100, 1_000)
ROUNDS = 5
CHAIN = {
    "tiers": [
        {"name": "gateway", "kind": "envoy", "templates": {"v1": {}}},
        {"name": "web", "kind": "app", "templates": {"v1": {}}},
    ]
}
IDLE = InFlight(0, 0)
ADMITTED, REMOVED = Membership(True, False), Membership(False, True)


class HopDouble:
    async def not_ready(self, instance: Instance, timeout: float) -> str:
        return ""

    async def in_flight(self, instance: Instance) -> InFlight:
        return IDLE


class RouterDouble:
    async def membership(self, names: frozenset[str]) -> Mapping[str, Membership]:
        return dict.fromkeys(names, REMOVED)


class Looks:
    """A tier of that many instances, and looks at it, a second apart on its own clock."""

    def __init__(self, size: int, state: Path) -> None:
        self.size = size
        self._now = 0.0
        traits = {kind: hop.traits for kind, hop in HOPS.items()}
        platform = LocalPlatform(Chain.model_validate(CHAIN), state, traits, _never, {})
        pid = os.getpid()
        born = process.start_time(pid)
        instances: dict[str, Instance] = {}
        self._fleet = Fleet()
        for serial in range(1, size + 1):
            name = f"web-v1-{serial}"
            phase = Phase.DRAINING if serial % 4 == 0 else Phase.ADMITTED
            self._fleet.add(Member(name, "v1", serial, phase, times={phase: 0.0}, served=True))
            folder = state / "instances" / name
            folder.mkdir(parents=True)
            address = Address("127.0.0.1", 1)
            instances[name] = Instance(name, "web", "v1", address, address, pid, born, str(folder))
            write_instance(folder / "instance.json", instances[name])
        hop, router = cast(Hop, HopDouble()), cast(Router, RouterDouble())
        self._observer = Observer(hop, router, platform, instances, lambda: self._now)

    async def look(self) -> None:
        self._now += 1.0
        events = await self._observer.look(self._fleet)
        assert len(events) == self.size // 4, "each draining instance is counted, and nothing else happens"


def _never(_: LaunchContext) -> LaunchSpec:
    raise NotImplementedError


async def cpu(looks: Looks) -> float:
    """Seconds of CPU for one look and instance."""
    number = max(1, 1_000 // looks.size)
    began = time.process_time()
    for _ in range(number):
        await looks.look()
    return (time.process_time() - began) / number / looks.size


async def calls(looks: Looks) -> float:
    profile = cProfile.Profile()
    profile.enable()
    await looks.look()
    profile.disable()
    return float(vars(pstats.Stats(profile))["total_calls"]) / looks.size


def main() -> None:
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        tiers = {size: Looks(size, Path(folder) / str(size)) for size in SIZES}
        best = dict.fromkeys(SIZES, float("inf"))
        for _ in range(ROUNDS):
            for size, looks in tiers.items():
                best[size] = min(best[size], asyncio.run(cpu(looks)))
        found = {size: {"CPU us": best[size] * 1e6, "calls": asyncio.run(calls(tiers[size]))} for size in SIZES}
    table = Table("instances", "µs of CPU for each", "calls for each")
    for size, seen in found.items():
        table.add_row(f"{size:,}", f"{seen['CPU us']:.0f}", f"{seen['calls']:.0f}")
    console.print(table)
    write_results("look", {"rounds": ROUNDS, "for each instance": found}, console)


if __name__ == "__main__":
    main()
