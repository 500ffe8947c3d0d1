"""How often the guards decide correctly: false alarms for healthy canaries, detections for faulty ones, in virtual
time.

A canary is a simulated minute of traffic, written to a ledger second by second. The code of a real rollout reads,
samples and judges it. The latencies have the properties that mislead guards in practice: long tails, a common drift,
pauses that delay many requests of an instance at once, and small differences between instances. The control judges the
same healthy traffic naively: each request counts as evidence, a look in every interval, no minimum effect. The seeds
are fixed, so the figures are the same every time.

    python bench/guard.py [canaries of each kind]          every kind of canary, written to results/guard.json
    python bench/guard.py --sample [canaries]              the most informative kinds, in a minute; the same file
    python bench/guard.py --ledger FILE A B [seconds]      two instances of one template in a real ledger:
                                                           as they were, and with A made slower by a factor
"""

from __future__ import annotations

import asyncio
import json
import math
import statistics
import sys
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import mannwhitneyu
from shared import write_results

from changeover.engine.metrics.ledger import LedgerReader
from changeover.engine.metrics.probe import ProbeSource, ProbeTiming
from changeover.engine.metrics.source import look
from changeover.model.guard import LATENCY_NOT_WORSE, NO_BROKEN_REQUESTS, SHIPPED, Condition, Guard
from changeover.rollout.guard.cohorts import CohortMember, Cohorts
from changeover.rollout.guard.evaluate import GuardRun, GuardVerdict

CANARIES = 100
STATES = ("passed", "failed", "inconclusive")
SAMPLE = ("healthy, 50 of 100/s", "healthy, 0.0% broken anyway", "1.5 times as slow", "2 % broken")
"""The kinds of a sample, for the shipped guards."""
BEGAN = 1_000_000.0
LONGEST = 90  # seconds of traffic after which a run without a verdict fails; runs take far less

ERROR_RATIO = Guard(
    name="error-ratio",
    conditions=(Condition(name="below-1-percent", source="probe", measure="error_ratio", at_most=0.01),),
)
ERRORS_COMPARED = Guard(
    name="errors-compared",
    conditions=(
        Condition(name="ratio", source="probe", measure="error_ratio", against_baseline=True, worse_by=2, margin=0.005),
    ),
)
GUARDS = {guard.name: guard for guard in (NO_BROKEN_REQUESTS, LATENCY_NOT_WORSE, ERROR_RATIO, ERRORS_COMPARED)}


@dataclass(frozen=True)
class CanaryKind:
    """A kind of canary, and the guard that judges it. Rates are per second, times in ms."""

    name: str
    healthy: bool
    guard: Guard
    rate: float = 100.0
    share: float = 0.5
    """Share of the requests that the canary receives. One new instance of the old template receives the rest."""
    slower: float = 1.0
    """Factor on all the canary's latencies."""
    tail: float = 0.0
    """Share of the canary's requests that take 100 ms more."""
    errors: float = 0.0
    """Share of the canary's requests that fail with status 500."""
    background: float = 0.0
    """The same share, on both cohorts."""
    unlike: float = 0.05
    """Spread between instances of one template, as a share."""
    pause: float = 0.3
    """Longest pause of an instance in seconds; on average one pause in 15 s."""
    drift: float = 0.16
    """Spread of the drift that both cohorts share from second to second, as a share."""
    vanishes_at: float = math.inf
    """Second after which the probe writes no rows."""

    @property
    def has_control(self) -> bool:
        """Whether the naive control judges it too."""
        return self.healthy and self.guard == LATENCY_NOT_WORSE


@dataclass
class Traffic:
    """The traffic of two instances, second by second."""

    kind: CanaryKind
    random: np.random.Generator
    drift: float = 0.0
    quick: dict[str, float] = field(default_factory=dict)
    pause: dict[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.quick = {name: math.exp(self.random.normal(0, self.kind.unlike)) for name in ("canary", "baseline")}
        self.pause = dict.fromkeys(self.quick, (-1.0, 0.0))

    def second(self, number: int) -> list[dict[str, Any]]:
        """The rows of one second, in the order of their completion."""
        self.drift = 0.95 * self.drift + self.random.normal(0, 0.31 * self.kind.drift)
        rows = []
        for name, share in (("canary", self.kind.share), ("baseline", 1 - self.kind.share)):
            if self.random.random() < 1 / 15:  # garbage collection, compaction, another process
                self.pause[name] = (number + self.random.random(), self.random.uniform(0, self.kind.pause))
            for at in number + self.random.random(self.random.poisson(self.kind.rate * share)):
                rows.append(self._row(name, float(at)))
        return sorted(rows, key=lambda row: row["finished"])

    def _row(self, name: str, at: float) -> dict[str, Any]:
        kind, random = self.kind, self.random
        ms = 8 * self.quick[name] * math.exp(self.drift + random.normal(0, 0.5))
        began, lasts = self.pause[name]
        if began <= at < began + lasts:
            ms += 1000 * (began + lasts - at)
        broken = random.random() < kind.background
        if name == "canary":
            ms = ms * kind.slower + (100 if random.random() < kind.tail else 0)
            broken = broken or random.random() < kind.errors
        start = BEGAN + at
        row = {"kind": "get", "path": "/hello", "scheduled": start, "started": start, "finished": start + ms / 1000}
        result = {"outcome": "lost", "reason": "status 500"} if broken else {"outcome": "ok"}
        return {**row, **result, "instance": name, "version": {"canary": "v2", "baseline": "v1"}[name]}


COHORTS = Cohorts(BEGAN, "v2", (CohortMember("canary", BEGAN),), "v1", (CohortMember("baseline", BEGAN),), fresh=True)


@dataclass(frozen=True)
class Judged:
    verdict: GuardVerdict
    seconds: float
    naive: bool
    """Whether the naive control raised an alarm over the same traffic."""


async def judge(kind: CanaryKind, seed: int) -> Judged:
    """Judge one canary, from its admission to its verdict."""
    traffic = Traffic(kind, np.random.default_rng(seed))
    run = GuardRun((kind.guard,), BEGAN)
    with tempfile.TemporaryDirectory(prefix="changeover-bench-") as folder:
        ledger = Path(folder) / "ledger.jsonl"
        reader = LedgerReader(ledger)
        with ledger.open("a") as file:
            sent: list[dict[str, Any]] = []
            naive = False
            for second in range(LONGEST):
                if second < kind.vanishes_at:
                    rows = traffic.second(second)
                    sent += rows
                    file.writelines(json.dumps(row) + "\n" for row in rows)
                    file.flush()
                at = BEGAN + second + 1
                for seen in await look(run, {"probe": ProbeSource(reader)}, COHORTS, at):
                    run.take(seen)
                    naive = naive or (kind.has_control and _naive_alarm(sent))
                if run.verdict.state != "running":
                    return Judged(run.verdict, second + 1, naive)
    raise AssertionError(f"no verdict after {LONGEST} s: {run.verdict.reason}")


def _judge(kind: CanaryKind, seed: int) -> Judged:
    return asyncio.run(judge(kind, seed))


def _naive_alarm(rows: list[dict[str, Any]]) -> bool:
    """Mann-Whitney over all requests so far, with the guard's alpha."""
    ms = {
        name: [row["finished"] - row["started"] for row in rows if row["instance"] == name]
        for name in ("canary", "baseline")
    }
    alpha = LATENCY_NOT_WORSE.conditions[0].alpha
    return bool(mannwhitneyu(ms["canary"], ms["baseline"], alternative="greater").pvalue < alpha)


def kinds() -> Iterator[CanaryKind]:
    same = CanaryKind("", True, LATENCY_NOT_WORSE)
    yield replace(same, name="healthy, 50 of 100/s")
    yield replace(same, name="healthy, 15 of 300/s", rate=300, share=0.05)
    yield replace(same, name="healthy, 5 of 100/s", share=0.05)
    yield replace(same, name="healthy, pauses up to 0.6 s", pause=0.6)
    yield replace(same, name="healthy, busy machine", drift=0.6)
    yield replace(same, name="healthy, but instances differ by 15 %", unlike=0.15)
    faulty = replace(same, healthy=False)
    for slower in (1.25, 1.5, 2.0, 3.0):
        yield replace(faulty, name=f"{slower:g} times as slow", slower=slower)
    yield replace(faulty, name="twice as slow, 15 of 300/s", slower=2.0, rate=300, share=0.05)
    yield replace(faulty, name="twice as slow, pauses up to 0.6 s", slower=2.0, pause=0.6)
    yield replace(faulty, name="twice as slow, busy machine", slower=2.0, drift=0.6)
    yield replace(faulty, name="15 % of requests + 100 ms", tail=0.15)
    yield replace(faulty, name="probe silent from second 20", vanishes_at=20)
    for guard, background in ((NO_BROKEN_REQUESTS, 0.0), (ERROR_RATIO, 0.001), (ERRORS_COMPARED, 0.001)):
        one = CanaryKind("", True, guard, background=background)
        yield replace(one, name=f"healthy, {background:.1%} broken anyway")
        yield replace(one, name="2 % broken", healthy=False, errors=0.02)


def simulated(canaries: int, *, sample: bool) -> None:
    console = Console(width=120)
    table = Table("guard", "canary", "passed", "failed", "inconclusive", "seconds", "naive alarms", box=None)
    figures = []
    for number, kind in enumerate(kinds()):
        if sample and (kind.name not in SAMPLE or kind.guard.name not in SHIPPED):
            continue
        with ProcessPoolExecutor() as pool:
            judged = list(pool.map(_judge, repeat(kind), range(1000 * number, 1000 * number + canaries)))
        states = Counter(one.verdict.state for one in judged)
        figure = {
            "guard": kind.guard.name,
            "canary": kind.name,
            "healthy": kind.healthy,
            "canaries": canaries,
            **{state: states[state] for state in STATES},
            "median seconds": statistics.median(one.seconds for one in judged),
            "naive alarms": sum(one.naive for one in judged) if kind.has_control else None,
            "first reason": next((one.verdict.reason for one in judged if one.verdict.state != "passed"), ""),
        }
        figures.append(figure)
        naive = figure["naive alarms"]
        table.add_row(
            kind.guard.name,
            kind.name,
            *(str(figure[column]) for column in (*STATES, "median seconds")),
            "" if naive is None else str(naive),
        )
        console.print(f"{kind.guard.name}, {kind.name}: {dict(states)}", style="dim")
    console.print(table)
    totals = {
        "healthy canaries": sum(one["canaries"] for one in figures if one["healthy"]),
        "false alarms": sum(one["failed"] for one in figures if one["healthy"]),
        "healthy but paused": sum(one["inconclusive"] for one in figures if one["healthy"]),
        "faulty canaries": sum(one["canaries"] for one in figures if not one["healthy"]),
        "faulty but passed": sum(one["passed"] for one in figures if not one["healthy"]),
    }
    console.print(", ".join(f"{name}: {total}" for name, total in totals.items()))
    write_results("guard", {**totals, "canaries of each kind": canaries, "figures": figures}, console)


def real(ledger: Path, a: str, b: str, interval: float) -> None:
    """Judge A against B, and B against A, over each part of a ledger that is long enough for a round."""
    condition = LATENCY_NOT_WORSE.conditions[0].model_copy(update={"interval": interval, "margin": 0.0})
    guard = Guard(name="latency-not-worse", conditions=(condition,))
    table = Table("slower by", "rounds", "passed", "failed", "inconclusive", box=None)
    for slower in (1.0, 1.25, 1.5, 2.0, 3.0):
        states: Counter[str] = Counter()
        for canary, baseline in ((a, b), (b, a)):
            reader = LedgerReader(ledger)
            reader.read()
            slow = reader.rows[canary].sent_ms
            slow[:] = array("d", (ms * slower for ms in slow))
            begin = max(reader.rows[name].ended[0] for name in (a, b))
            while begin + ProbeTiming().lag + (condition.count + 3) * interval < reader.newest:
                cohorts = Cohorts(
                    begin, "", (CohortMember(canary, begin),), "", (CohortMember(baseline, begin),), fresh=True
                )
                verdict, begin = asyncio.run(_replay(guard, reader, cohorts))
                states[verdict.state] += 1
        table.add_row(f"{slower:g}", *map(str, (states.total(), *(states[state] for state in STATES))))
    Console().print(table)


async def _replay(guard: Guard, reader: LedgerReader, cohorts: Cohorts) -> tuple[GuardVerdict, float]:
    run = GuardRun((guard,), cohorts.since)
    source = {"probe": ProbeSource(reader, ProbeTiming(stale=math.inf))}
    while run.verdict.state == "running" and (at := run.next_at) is not None:
        for seen in await look(run, source, cohorts, at):
            run.take(seen)
    return run.verdict, at or cohorts.since


def main(words: list[str]) -> None:
    if words[:1] == ["--ledger"]:
        real(Path(words[1]), words[2], words[3], float(words[4]) if len(words) > 4 else 5.0)
    else:
        sample = words[:1] == ["--sample"]
        number = words[sample:]
        simulated(int(number[0]) if number else CANARIES, sample=sample)


if __name__ == "__main__":
    main(sys.argv[1:])
