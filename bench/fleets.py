"""What a rollout of 100, 1,000 and 10,000 instances costs where it is decided, written, read and shown, for each.

The rollout is simulated, and its journal written as a controller writes it. Prints the microseconds of CPU and the
function calls for each instance; other load on the machine does not change the calls. Neither may grow with the tier.
"""

from __future__ import annotations

import cProfile
import json
import pstats
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import cast

import yaml
from rich.console import Console
from rich.table import Table
from shared import write_results
from simulate import WORLD, rules

from changeover.chain_files import COPY
from changeover.cli.commands.history import history_data, show_data
from changeover.engine.journal.journal import Journal
from changeover.engine.log_lines import log_lines
from changeover.report.build import report_of_rollouts
from changeover.report.page import render
from changeover.report.rollouts import rollout_part
from changeover.rollout import events as on
from changeover.rollout.simulation.model import NEW, OLD
from changeover.rollout.simulation.rehearsal import rehearse
from changeover.rollout.simulation.simulate import Simulation
from changeover.rollout.tier.decision import Decision
from changeover.rollout.tier.machine import Machine
from changeover.web.metrics.collector import MetricsText

SIZES = (100, 1_000, 10_000)
MEMORY = Path("/dev/shm")
"""A journal there waits for no disk."""


class Written:
    """A machine whose every decision is written to a journal, until it stops there."""

    def __init__(self, machine: Machine, journal: Journal) -> None:
        self._machine, self._journal = machine, journal

    def __getattr__(self, name: str) -> object:
        return getattr(self._machine, name)

    def handle(self, event: on.Event) -> Decision:
        decision = self._machine.handle(event)
        if not decision.is_empty:
            changed = [*(move.member for move in decision.moved), *decision.touched]
            self._journal.write_step(event.at, "web", decision.state, changed, log_lines(event, decision))
        return decision


class Rollout:
    """A rollout of a tier of that size: simulated, with its journal in a folder of its own."""

    def __init__(self, size: int, folder: Path) -> None:
        self.size, self.folder = size, folder
        self.settings = rules(size)
        self.journal = Journal(folder / "journal.db")
        self._simulation = Simulation(self.settings, WORLD, Random(1))
        # A chain file takes no more than 1,000 of one tier; metrics count those that the journal has.
        tier = {"name": "web", "kind": "app", "size": min(size, 1_000), "templates": {OLD: {}, NEW: {}}}
        (folder / COPY).write_text(yaml.safe_dump({"name": "fleet", "tiers": [tier]}))
        self._metrics = MetricsText([folder])

    def write_half(self) -> None:
        """Simulate until half of the instances are replaced, and write it."""
        self.journal.take_lease("roll", 0.0)
        self.journal.set_up()
        self.row = self.journal.begin_rollout(0.0, "web", OLD, NEW)
        machine = self._simulation.machine
        for member in machine.fleet:
            self.journal.write_member("web", member)
        self._simulation.machine = cast(Machine, Written(machine, self.journal))
        while self._simulation.replaced < self.size // 2:
            self._simulation.run(self.size)

    def write_rest(self) -> None:
        self._simulation.run()
        self.journal.end_rollout(self.row.id, self._simulation.now, "completed", "")
        self.row = self.journal.rollouts()[-1]

    def plan(self) -> None:
        fleet, tier = self.journal.fleet("web"), self.journal.tier("web")
        assert tier is not None
        drains = Random(1)
        started = on.Started(self._simulation.now, OLD)
        made = rehearse(
            self.settings, tier, fleet, started, start=10.0, drain=lambda name, at: drains.uniform(0.0, 60.0)
        )
        assert made.outcome == "completed"

    def resume(self) -> None:
        tier = self.journal.tier("web")
        assert tier is not None
        Machine(self.settings, tier, self.journal.fleet("web")).handle(on.Tick(self._simulation.now))

    def scrape(self) -> None:
        self._metrics.build()

    def history(self) -> None:
        json.dumps(history_data(self.folder, 1, 100))

    def show(self) -> None:
        json.dumps(show_data(self.folder, self.row.id))

    def instances(self) -> None:
        rollout_part(self.journal, self.row, self.size)

    def report(self) -> None:
        made = self._simulation.now
        facts = {"floors": {"web": self.size}, "chain_sha256": None, "software": dict[str, str]()}
        render(report_of_rollouts(self.journal, [self.row], [], made=made, subject="fleet", **facts))  # type: ignore[arg-type]


QUESTIONS: Mapping[str, Callable[[Rollout], None]] = {
    "plan the next one": Rollout.plan,
    "scrape of its metrics": Rollout.scrape,
    "history": Rollout.history,
    "show": Rollout.show,
    "instances, for the page": Rollout.instances,
    "report": Rollout.report,
}
"""Asked about the rollout that has ended."""


def cost(question: Callable[[Rollout], None], rollout: Rollout) -> dict[str, float]:
    """For each instance: of CPU, and of calls, which are counted in another run where the question can be repeated."""
    began = time.process_time()
    question(rollout)
    return {"CPU us": (time.process_time() - began) / rollout.size * 1e6}


def calls(question: Callable[[Rollout], None], rollout: Rollout) -> dict[str, float]:
    profile = cProfile.Profile()
    profile.enable()
    question(rollout)
    profile.disable()
    return {"calls": vars(pstats.Stats(profile))["total_calls"] / rollout.size}


def measure(size: int, folder: Path) -> dict[str, dict[str, float]]:
    """Every cost at that size. The rollout is half-way when it is resumed, and has ended before the rest."""
    folder.mkdir()
    rollout = Rollout(size, folder)
    found = {"decide and write the first half": cost(Rollout.write_half, rollout)}
    found["resume in its middle"] = cost(Rollout.resume, rollout) | calls(Rollout.resume, rollout)
    found["decide and write the rest"] = cost(Rollout.write_rest, rollout)
    for name, question in QUESTIONS.items():
        found[name] = cost(question, rollout) | calls(question, rollout)
    return found


def main() -> None:
    console = Console()
    found = {}
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        for size in SIZES:
            console.print(f"{size:,} instances", style="dim")
            found[size] = measure(size, Path(folder) / str(size))
    table = Table("for each instance", *(f"{size:,}: µs, calls" for size in SIZES))
    for name in found[SIZES[0]]:
        cells = [found[size][name] for size in SIZES]
        table.add_row(name, *(f"{cell['CPU us']:,.0f} {cell.get('calls', 0):,.0f}" for cell in cells))
    console.print(table)
    write_results("fleets", {"for each instance": found}, console)


if __name__ == "__main__":
    main()
