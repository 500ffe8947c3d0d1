"""A rollout that is watched hard: `serve` under 1,000 scrapes a second and 200 event streams, beside one without it.

`changeover demo` runs in turn alone, and while `changeover serve` answers `hey` (1,000 requests a second of /metrics
over 20 connections) and 200 clients that read the events of the page; ROUNDS times each, so that a change of the
machine's load in between falls on both. The reaction of a drain is the time from the last request in flight on an
instance until its stop signal. A lost request of the demo is named by kind, reason and the tier that was rolled then; a
scrape or a stream that failed is counted apart. `hey` is Debian's package.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from shared import write_results

RATE, CONNECTIONS, STREAMS = 1000, 20, 200
ROUNDS = 2
"""Demos alone, and as many watched. Each takes one to two and a half minutes on two cores."""
GETS = 60
"""GETs a second of the demo's probe: what two cores serve beside the load on `serve`, `hey` included."""
LONGEST = 900
"""Seconds that `hey` sends at most; it is ended with the rollouts."""
ANSWERS = 60.0
"""Seconds until `serve` must answer."""


async def demo(folder: Path) -> dict[str, Any]:
    """Roll every tier of the example under traffic, and return the report."""
    words = ("demo", "--json", "--state", str(folder), "--rate", str(GETS))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "changeover", *words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    text, _ = await process.communicate()
    return dict(json.loads(text))


class Stream:
    """One client of the page's events. `received`: bytes. `ended`: whether the server ended it."""

    received, ended = 0, False

    async def read(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.closing(writer):
            writer.write(b"GET /api/chains/1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            while piece := await reader.read(65536):
                self.received += len(piece)
        self.ended = True


def cpu_seconds(pid: int) -> float:
    """CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int, name: str) -> float:
    """MB of a process. `name`: VmRSS, or VmHWM for the most so far."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(rf"{name}:\s+(\d+) kB", text)
    assert found is not None
    return round(int(found[1]) / 1024, 1)


@contextlib.asynccontextmanager
async def serving(state: Path) -> AsyncIterator[tuple[int, int]]:
    """`changeover serve` of that folder. Yields its process and its port."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "changeover", "serve", "--state", str(state), "--listen", "127.0.0.1:0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(ANSWERS):
            async for line in process.stdout:
                if found := re.search(rb"http://127\.0\.0\.1:(\d+)", line):
                    break
        yield process.pid, int(found[1])  # type: ignore[index]
    finally:
        process.terminate()
        await process.communicate()


async def watched(folder: Path) -> dict[str, Any]:
    """The demo beside `serve` under load."""
    streams = [Stream() for _ in range(STREAMS)]
    async with serving(folder) as (pid, port):
        at_rest, used, began = memory(pid, "VmRSS"), cpu_seconds(pid), time.monotonic()
        each = RATE // CONNECTIONS
        hey = await asyncio.create_subprocess_exec(
            *("hey", "-z", f"{LONGEST}s", "-c", str(CONNECTIONS), "-q", str(each), f"http://127.0.0.1:{port}/metrics"),
            stdout=subprocess.PIPE,
        )
        reading = [asyncio.create_task(stream.read(port)) for stream in streams]
        try:
            report = await demo(folder)
        finally:
            used, began = cpu_seconds(pid) - used, time.monotonic() - began
            hey.send_signal(2)
            text = (await hey.communicate())[0].decode()
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)
        report["serve"] = {
            "requests_per_second": _number(r"Requests/sec:\s+([\d.]+)", text),
            "p50_ms": _number(r"50%+ in ([\d.]+)", text) * 1000,
            "p99_ms": _number(r"99%+ in ([\d.]+)", text) * 1000,
            "not_200": sum(
                int(count) for status, count in re.findall(r"\[(\d+)\]\s+(\d+) responses", text) if status != "200"
            ),
            "scrapes_without_response": sum(map(int, re.findall(r"^\s*\[(\d+)\]\s+\w+ \S*http", text, re.MULTILINE))),
            "cpu_share": round(used / began, 2),
            "megabytes_at_rest": at_rest,
            "megabytes_at_most": memory(pid, "VmHWM"),
            "streams": sum(stream.received > 0 for stream in streams),
            "streams_ended": sum(stream.ended for stream in streams),
            "bytes_per_stream": round(sum(stream.received for stream in streams) / len(streams)),
        }
    return report


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    return float(found[1]) if found else float("nan")


def _figures(report: dict[str, Any]) -> dict[str, Any]:
    idle, verdict = report["seconds_from_last_in_flight_to_stop"], report["verdict"]
    return {
        "summary": verdict["summary"],
        "broken": {
            kind: {outcome: number for outcome, number in counts.items() if outcome not in ("sent", "ok") and number}
            for kind, counts in verdict["counts"].items()
        },
        "failures_by_reason": verdict["failures_by_reason"],
        "failures_by_moving_tier": verdict["failures_by_moving_tier"],
        "seconds": report["seconds"],
        "get_p99_ms": verdict["get_latency_ms"]["p99"],
        "drain_reaction_median_ms": round(idle["median"] * 1000),
        "drain_reaction_max_ms": round(idle["max"] * 1000),
        "drains": idle["instances"],
        **({"serve": report["serve"]} if "serve" in report else {}),
    }


async def main() -> None:
    console = Console()
    found: dict[str, list[dict[str, Any]]] = {"alone": [], "watched": []}
    for _ in range(ROUNDS):
        for name, rolled in (("alone", demo), ("watched", watched)):
            with tempfile.TemporaryDirectory() as folder:
                before = os.getloadavg()[0]
                found[name].append({**_figures(await rolled(Path(folder) / name)), "load_before": before})
            console.print(name, found[name][-1])
    table = Table("", *(f"{name} {number}" for number in range(1, ROUNDS + 1) for name in found))
    for figure in (*found["alone"][0], "serve"):
        rows = [found[name][number] for number in range(ROUNDS) for name in found]
        table.add_row(figure, *(str(row.get(figure, "")) for row in rows))
    console.print(table)
    write_results("watching", found, console)


if __name__ == "__main__":
    asyncio.run(main())
