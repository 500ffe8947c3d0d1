"""Slow uploads while the tiers behind the relay are rolled, and while applications are killed: losses and drain times.

Three runs with the chains of the examples. The probe reads every upload back and counts its copies. First the tiers
behind the relay are rolled one after another, with 16 uploads of 50 MB in flight that take 60 s each. Then the same in
the chain without a relay. Then, with the relay, every 2 s for two minutes an application that receives a segment is
killed. A drain is the time from the confirmed removal of an instance until nothing is in flight on it.

The run with kills has four applications: replacing two takes longer than killing them, so that with two the figures
would be those of an outage.

`bench/handover.py --sample` uses 4 uploads of 20 MB in 15 s each, and 20 s of kills.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from rich.console import Console
from rich.table import Table
from shared import RunningChain, write_results

from changeover.probe.records.ledger import read_ledger
from changeover.uploads import FileStore
from changeover.uploads.core.record import decode
from changeover.uploads.stores.store import RecordMissing

EXAMPLES = Path(__file__).parents[1] / "examples"
WITH, WITHOUT = EXAMPLES / "02-upload-handover/chain.yaml", EXAMPLES / "01-four-tiers/chain.yaml"
ROLLED = ("runtime", "gateway", "l4")
COUNTERS = ("segments", "committed_bytes", "resent_bytes", "resumed", "given_up")
EVERY = 2.0
"""Seconds between two kills."""
MANY = 4
"""Applications in the run with kills."""


@dataclass(frozen=True)
class UploadTraffic:
    """`size` in MB, times in seconds."""

    uploads: int = 16
    size: int = 50
    seconds: int = 60
    killing: int = 120


class Chain(RunningChain):
    """A chain of the examples, with its relays and applications."""

    def __init__(self, folder: Path, file: Path, size: int = 2) -> None:
        chain = yaml.safe_load(file.read_text(encoding="utf-8"))
        chain["tiers"][-1]["size"] = size
        super().__init__(folder, chain)

    def instances(self, tier: str) -> list[dict[str, Any]]:
        return [one for one in self.run("status")["instances"] if one["tier"] == tier]

    def receiving(self, client: httpx.Client) -> int | None:
        """The process of an application that receives a segment at the moment; None after EVERY seconds without one."""
        until = time.monotonic() + EVERY
        while time.monotonic() < until:
            # The platform's records, because `status` takes longer than the reception of a segment.
            for file in self.folder.glob(".changeover/instances/runtime-*/instance.json"):
                with contextlib.suppress(OSError, ValueError, httpx.HTTPError):  # exited, or not started yet
                    record = json.loads(file.read_text())
                    control = record["control"]
                    response = client.get(f"http://{control['host']}:{control['port']}/inflight")
                    if response.json()["uploads"]:
                        return int(record["pid"])
        return None

    @contextlib.contextmanager
    def uploads(self, traffic: UploadTraffic) -> Iterator[dict[str, Any]]:
        """Keep all uploads in flight during the block. Then fill in the part of the verdict about uploads."""
        options = ("--rate", 5, "--connections", 2, "--upload-size", f"{traffic.size}MB")
        found: dict[str, Any] = {}
        with self.probing(*options, "--upload-time", f"{traffic.seconds}s", uploads=traffic.uploads) as verdict:
            yield found
        found |= about_uploads(verdict, self.folder)

    def attempts(self) -> Counter[int]:
        """Attempts of the handler for a complete upload -> number of uploads, from the stored records."""

        async def read() -> Counter[int]:
            store, found = FileStore(self.folder / ".changeover/shared/files"), Counter[int]()
            async for id in store.ids():
                with contextlib.suppress(RecordMissing):
                    found[decode((await store.read(id))[0]).attempts] += 1
            return found

        return asyncio.run(read())

    def relays(self) -> Counter[str]:
        """The sum of the counters of all relays."""
        total: Counter[str] = Counter()
        for one in self.instances("relay"):
            text = httpx.get(f"http://{one['control']}/metrics", trust_env=False).text
            for name in COUNTERS:
                found = re.search(rf"^changeover_relay_{name}_total (\S+)$", text, re.MULTILINE)
                assert found is not None
                total[name] += int(float(found[1]))
        return total


def about_uploads(verdict: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The part of the verdict about uploads."""
    counts = verdict["counts"]
    rows = [row for row in read_ledger(folder / verdict["ledger"]) if row.kind == "upload" and row.outcome != "ok"]
    return {
        "uploads": counts["upload"]["sent"],
        "lost": counts["upload"]["lost"],
        "duplicated": verdict["duplicated"],
        "corrupted": verdict["corrupted"],
        "why": [f"{row.reason} after {row.finished - row.started:.1f} s, {row.bytes_sent} bytes" for row in rows],
        "broken, of all kinds": verdict["failures_by_reason"],
        "summary": verdict["summary"],
    }


def roll(file: Path, traffic: UploadTraffic) -> dict[str, Any]:
    """Roll every tier of ROLLED to its next template while the uploads are in flight."""
    with tempfile.TemporaryDirectory() as folder, Chain(Path(folder), file) as chain:
        with chain.uploads(traffic) as verdict:
            rolled = {tier: chain.run("roll", tier, "--to", "v2") for tier in ROLLED}
        counted = chain.relays() if file is WITH else Counter()
        attempts = chain.attempts()
    drains = {
        tier: [
            round(one["times"]["drained"] - one["times"]["draining"], 3)
            for one in done["instances"]
            if "drained" in one["times"]
        ]
        for tier, done in rolled.items()
    }
    return {
        **verdict,
        "seconds": {tier: done["seconds"] for tier, done in rolled.items()},
        "drains": drains,
        "median drain": round(statistics.median(itertools.chain(*drains.values())), 3),
        "relays": dict(counted),
        "handler attempts": dict(attempts),
    }


def kill(traffic: UploadTraffic) -> dict[str, Any]:
    """Kill applications that receive a segment, again and again."""
    kills = 0
    with tempfile.TemporaryDirectory() as folder, Chain(Path(folder), WITH, MANY) as chain:
        with chain.uploads(traffic) as verdict, httpx.Client(trust_env=False, timeout=0.5) as client:
            before = chain.relays()
            until = time.monotonic() + traffic.killing
            while (began := time.monotonic()) < until:
                if (pid := chain.receiving(client)) is not None:
                    os.kill(pid, signal.SIGKILL)
                    kills += 1
                time.sleep(max(0.0, began + EVERY - time.monotonic()))
        counted, attempts = chain.relays(), chain.attempts()
    counted.subtract(before)
    asked = {"handler attempts": dict(attempts)}
    return {**verdict, **asked, "kills": kills, "relays": dict(counted), **again(counted, kills)}


def again(counted: Counter[str], kills: int) -> dict[str, Any]:
    """Bytes sent twice for each kill and for each failed request, and the mean size of a segment."""
    return {
        "sent again per kill": round(counted["resent_bytes"] / max(1, kills)),
        "sent again per failure": round(counted["resent_bytes"] / max(1, counted["resumed"])),
        "mean segment": round(counted["committed_bytes"] / max(1, counted["segments"])),
    }


def most(one: dict[str, Any]) -> str:
    """Most attempts of the handler for one upload; there are no such records without the relay."""
    return str(max(one["handler attempts"])) if one["relays"] else "-"


def main() -> None:
    traffic = (
        UploadTraffic(uploads=4, size=20, seconds=15, killing=20) if "--sample" in sys.argv[1:] else UploadTraffic()
    )
    console = Console()
    console.print(f"{traffic.uploads} uploads of {traffic.size} MB, {traffic.seconds} s each", style="dim")
    found: dict[str, Any] = {"load": vars(traffic)}
    for name, measured in (
        ("with the relay", lambda: roll(WITH, traffic)),
        ("killed", lambda: kill(traffic)),
        ("without it", lambda: roll(WITHOUT, traffic)),
    ):
        found[name] = measured()
        console.print(f"{name}: {found[name]['summary']}", style="dim")
    rolls = Table(
        "rolled", "uploads", "lost", "twice", "most attempts", "drain s, median", *(f"{tier} s" for tier in ROLLED)
    )
    for name in ("with the relay", "without it"):
        one = found[name]
        row = (one["uploads"], one["lost"], one["duplicated"], most(one), f"{one['median drain']:.2f}")
        rolls.add_row(name, *map(str, row), *(f"{one['seconds'][tier]:.0f}" for tier in ROLLED))
    one = found["killed"]
    kills = Table(
        "killed", "uploads", "lost", "twice", "most attempts", "failed requests", "bytes again per failure", "segment"
    )
    row = (one["kills"], one["uploads"], one["lost"], one["duplicated"], most(one), one["relays"]["resumed"])
    kills.add_row(*map(str, row), f"{one['sent again per failure']:,}", f"{one['mean segment']:,}")
    console.print(rolls, kills)
    write_results("handover", found, console)


if __name__ == "__main__":
    main()
