"""A rollout that is watched hard: `serve` under 1,000 scrapes a second and 200 event streams, beside one without it.

`changeover demo` runs twice in a folder of its own: alone, then while `changeover serve` answers `hey` (1,000 requests
a second of /metrics over 20 connections) and 200 clients that read the events of the page. The reaction of a drain is
the time from the last request in flight on an instance until its stop signal. `hey` is Debian's package.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from shared import write_results

RATE, CONNECTIONS, STREAMS = 1000, 20, 200
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
    """One client of the page's events. `received`: bytes."""

    received = 0

    async def read(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.closing(writer):
            writer.write(b"GET /api/chains/1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            while piece := await reader.read(65536):
                self.received += len(piece)


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
        at_rest = memory(pid, "VmRSS")
        each = RATE // CONNECTIONS
        hey = await asyncio.create_subprocess_exec(
            *("hey", "-z", f"{LONGEST}s", "-c", str(CONNECTIONS), "-q", str(each), f"http://127.0.0.1:{port}/metrics"),
            stdout=subprocess.PIPE,
        )
        reading = [asyncio.create_task(stream.read(port)) for stream in streams]
        try:
            report = await demo(folder)
        finally:
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
            "megabytes_at_rest": at_rest,
            "megabytes_at_most": memory(pid, "VmHWM"),
            "streams": sum(stream.received > 0 for stream in streams),
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
        "failures_by_reason": verdict["failures_by_reason"],
        "seconds": report["seconds"],
        "get_p99_ms": verdict["get_latency_ms"]["p99"],
        "drain_reaction_median_ms": round(idle["median"] * 1000),
        "drain_reaction_max_ms": round(idle["max"] * 1000),
        "drains": idle["instances"],
        **({"serve": report["serve"]} if "serve" in report else {}),
    }


async def main() -> None:
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        found = {
            "alone": _figures(await demo(Path(folder) / "alone")),
            "watched": _figures(await watched(Path(folder) / "watched")),
        }
    table = Table("", *found)
    for name in next(iter(found.values())):
        table.add_row(name, *(str(figures[name]) for figures in found.values()))
    console.print(table)
    console.print(found["watched"]["serve"])
    write_results("watching", found, console)


if __name__ == "__main__":
    asyncio.run(main())
