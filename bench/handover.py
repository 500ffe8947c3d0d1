"""Slow uploads while what stands behind the relay is replaced, and while it is killed: what is lost, and what waits.

Three runs over the chains of the examples, each under the probe, which reads every upload back and asks how often it
was stored: the tiers behind the relay rolled one after the other while 16 uploads of 50 MB are in flight, each taking
60 s; the same in the chain without a relay; and, with it, an application that has a segment of an upload in its hands
killed every 2 s for two minutes. A drain is the time from the confirmed removal of an instance until nothing was in
flight on it.

Where applications are killed there are four of them: it takes longer to replace two than to kill them, so of two there
would mostly be none, and what would be measured is an outage.

`bench/handover.py --sample` does with 4 uploads of 20 MB in 15 s each, and 20 s of killing.
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
import subprocess
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

from changeover.probe.ledger import read_ledger
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
"""Applications where they are killed."""


@dataclass(frozen=True)
class Load:
    """`size` in MB, times in seconds."""

    uploads: int = 16
    size: int = 50
    seconds: int = 60
    killing: int = 120


class Chain:
    """One chain that is up, in a folder of its own."""

    def __init__(self, folder: Path, file: Path, size: int = 2) -> None:
        self._folder = folder
        said = yaml.safe_load(file.read_text())
        said["tiers"][-1]["size"] = size
        (folder / "chain.yaml").write_text(yaml.safe_dump(said, sort_keys=False))

    def __enter__(self) -> Chain:
        self.run("up", "-f", "chain.yaml")
        return self

    def __exit__(self, *_: object) -> None:
        self.run("down")

    def run(self, *words: str) -> Any:
        """One command, as JSON."""
        argv = [sys.executable, "-m", "changeover", *words, "--json"]
        done = subprocess.run(argv, cwd=self._folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        return json.loads(done.stdout)

    def instances(self, tier: str) -> list[dict[str, Any]]:
        return [one for one in self.run("status")["instances"] if one["tier"] == tier]

    def holder(self, client: httpx.Client) -> int | None:
        """The process of an application that has an upload in its hands just now; None if none is seen for a while."""
        until = time.monotonic() + EVERY
        while time.monotonic() < until:
            # As its platform has recorded them: `status` takes longer than a segment is in anybody's hands.
            for file in self._folder.glob(".changeover/instances/runtime-*/instance.json"):
                with contextlib.suppress(OSError, ValueError, httpx.HTTPError):  # gone, or not there yet
                    told = json.loads(file.read_text())
                    control = told["control"]
                    answer = client.get(f"http://{control['host']}:{control['port']}/inflight")
                    if answer.json()["uploads"]:
                        return int(told["pid"])
        return None

    @contextlib.contextmanager
    def uploads(self, load: Load) -> Iterator[dict[str, Any]]:
        """All of them in flight, begun anew when they end; after the block what came of them."""
        said = ("--uploads", load.uploads, "--upload-size", f"{load.size}MB", "--upload-time", f"{load.seconds}s")
        argv = [sys.executable, "-m", "changeover", "probe", "--json", "--rate", 5, "--connections", 2, *said]
        verdict: dict[str, Any] = {}
        with subprocess.Popen(
            [*map(str, argv)], cwd=self._folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as probe:
            assert probe.stderr is not None
            next(line for line in probe.stderr if f" {load.uploads} in flight" in line)
            try:
                yield verdict
            finally:
                probe.send_signal(signal.SIGTERM)
                verdict |= told(json.loads(probe.communicate()[0]), self._folder)

    def attempts(self) -> Counter[int]:
        """How many complete uploads the application was asked about how often, as their records tell."""

        async def read() -> Counter[int]:
            store, found = FileStore(self._folder / ".changeover/shared/files"), Counter[int]()
            async for id in store.ids():
                with contextlib.suppress(RecordMissing):
                    found[decode((await store.read(id))[0]).attempts] += 1
            return found

        return asyncio.run(read())

    def relays(self) -> Counter[str]:
        """What all relays have counted."""
        total: Counter[str] = Counter()
        for one in self.instances("relay"):
            text = httpx.get(f"http://{one['control']}/metrics", trust_env=False).text
            for name in COUNTERS:
                found = re.search(rf"^changeover_relay_{name}_total (\S+)$", text, re.MULTILINE)
                assert found is not None
                total[name] += int(float(found[1]))
        return total


def told(verdict: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Of the verdict, what is about uploads."""
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


def roll(file: Path, load: Load) -> dict[str, Any]:
    """Every tier of ROLLED to its next template while the uploads are in flight."""
    with tempfile.TemporaryDirectory() as folder, Chain(Path(folder), file) as chain:
        with chain.uploads(load) as verdict:
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


def kill(load: Load) -> dict[str, Any]:
    """Whoever has a segment in its hands, again and again."""
    kills = 0
    with tempfile.TemporaryDirectory() as folder, Chain(Path(folder), WITH, MANY) as chain:
        with chain.uploads(load) as verdict, httpx.Client(trust_env=False, timeout=0.5) as client:
            before = chain.relays()
            until = time.monotonic() + load.killing
            while (began := time.monotonic()) < until:
                if (pid := chain.holder(client)) is not None:
                    os.kill(pid, signal.SIGKILL)
                    kills += 1
                time.sleep(max(0.0, began + EVERY - time.monotonic()))
        counted, attempts = chain.relays(), chain.attempts()
    counted.subtract(before)
    asked = {"handler attempts": dict(attempts)}
    return {**verdict, **asked, "kills": kills, "relays": dict(counted), **again(counted, kills)}


def again(counted: Counter[str], kills: int) -> dict[str, Any]:
    """Bytes that were sent twice, for each kill and for each request that failed; and how large a segment was."""
    return {
        "sent again per kill": round(counted["resent_bytes"] / max(1, kills)),
        "sent again per failure": round(counted["resent_bytes"] / max(1, counted["resumed"])),
        "mean segment": round(counted["committed_bytes"] / max(1, counted["segments"])),
    }


def most(one: dict[str, Any]) -> str:
    """How often the application was asked about an upload, at most; without the relay nobody counts that."""
    return str(max(one["handler attempts"])) if one["relays"] else "-"


def main() -> None:
    load = Load(uploads=4, size=20, seconds=15, killing=20) if "--sample" in sys.argv[1:] else Load()
    console = Console()
    console.print(f"{load.uploads} uploads of {load.size} MB, {load.seconds} s each", style="dim")
    found: dict[str, Any] = {"load": vars(load)}
    results = Path(__file__).parent / "results" / "handover.json"
    results.parent.mkdir(exist_ok=True)
    for name, measured in (
        ("with the relay", lambda: roll(WITH, load)),
        ("killed", lambda: kill(load)),
        ("without it", lambda: roll(WITHOUT, load)),
    ):
        found[name] = measured()
        results.write_text(json.dumps(found, indent=1))
        console.print(f"{name}: {found[name]['summary']}", style="dim")
    rolls = Table(
        "rolled", "uploads", "lost", "twice", "asked at most", "drain s, median", *(f"{tier} s" for tier in ROLLED)
    )
    for name in ("with the relay", "without it"):
        one = found[name]
        row = (one["uploads"], one["lost"], one["duplicated"], most(one), f"{one['median drain']:.2f}")
        rolls.add_row(name, *map(str, row), *(f"{one['seconds'][tier]:.0f}" for tier in ROLLED))
    one = found["killed"]
    kills = Table(
        "killed", "uploads", "lost", "twice", "asked at most", "failed requests", "bytes again per failure", "segment"
    )
    row = (one["kills"], one["uploads"], one["lost"], one["duplicated"], most(one), one["relays"]["resumed"])
    kills.add_row(*map(str, row), f"{one['sent again per failure']:,}", f"{one['mean segment']:,}")
    console.print(rolls, kills)
    console.print(f"written to {results}", style="dim")


if __name__ == "__main__":
    main()
