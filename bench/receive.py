"""What it costs to take uploads: the application of the example chain beside nginx's own dav module, in one run.

For 1, 8 and 32 uploads of 50 MB at once: GB/s, CPU seconds per GB of the server alone, and its peak memory. Rounds of
the two are interleaved, figures are medians; the machine is shared, so trust the ratios. Both write to files; the
application also hashes what it takes (SHA-256) and syncs it to disk, nginx does neither.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from changeover.hops.nginx import binary
from changeover.kit import process, sockets
from changeover.kit.pattern import pattern

SIZE = 50_000_000
PIECE = pattern(0, 1 << 20)
ROUNDS = 3
AT_ONCE = (1, 8, 32)
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """A receiver under test. `request` is the head of one upload, up to its length."""

    name: str
    start: Callable[[Path, int], tuple[str, ...]]
    request: Callable[[int], str]


def _app(folder: Path, port: int) -> tuple[str, ...]:
    return (sys.executable, "-m", "changeover", "app", "--port", str(port), "--shared", str(folder / "shared"))


def _nginx(folder: Path, port: int) -> tuple[str, ...]:
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid pid; error_log stderr; events {{}} http {{ access_log off; client_max_body_size 0;"
        f" client_body_buffer_size 1m; client_body_temp_path tmp; server {{ listen 127.0.0.1:{port}; root {folder};"
        " location /put/ { dav_methods PUT; create_full_put_path on; } location / { return 200; } } }"
    )
    return (binary.find().path, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr")


SERVERS = (
    Server("changeover app", _app, lambda _: "POST /upload"),
    Server("nginx dav", _nginx, lambda number: f"PUT /put/{number}"),
)


async def measure(server: Server, at_once: int) -> dict[str, float]:
    """One round: start the server, send `at_once` uploads side by side, read its counters, end it."""
    folder = Path(tempfile.mkdtemp(prefix="changeover-bench-"))
    port = sockets.free_port("127.0.0.1")
    pid, born = process.spawn(server.start(folder, port), cwd=folder, log=folder / "log", env={})
    try:
        await _listening(port)
        before, started = _cpu(pid), time.perf_counter()
        await asyncio.gather(*(_send(port, server.request(number)) for number in range(at_once)))
        seconds, gigabytes = time.perf_counter() - started, at_once * SIZE / 1e9
        return {
            "GB/s": gigabytes / seconds,
            "CPU s/GB": (_cpu(pid) - before) / gigabytes,
            "peak MB": sum(_peak(one) for one in _family(pid)) / 1000,
        }
    finally:
        process.kill_session(pid, born)
        shutil.rmtree(folder)


async def _send(port: int, request: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{request} HTTP/1.1\r\nHost: bench\r\nContent-Length: {SIZE}\r\n\r\n".encode())
    for offset in range(0, SIZE, len(PIECE)):
        writer.write(PIECE[: SIZE - offset])
        await writer.drain()
    status = await reader.readline()
    assert b" 201 " in status, status
    writer.close()


async def _listening(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def _cpu(pid: int) -> float:
    total = 0
    for one in _family(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def _peak(pid: int) -> float:
    """Peak resident memory in kB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return float(status.partition("VmHWM:")[2].split()[0])


def main() -> None:
    console = Console()
    rounds: dict[tuple[str, int], list[dict[str, float]]] = {}
    for number in range(ROUNDS):
        for at_once in AT_ONCE:
            for server in SERVERS:
                console.print(f"round {number + 1} of {ROUNDS}: {server.name}, {at_once} at once", style="dim")
                rounds.setdefault((server.name, at_once), []).append(asyncio.run(measure(server, at_once)))
    figures = {
        f"{name}, {at_once} at once": {key: round(statistics.median(r[key] for r in seen), 3) for key in seen[0]}
        for (name, at_once), seen in rounds.items()
    }
    table = Table("50 MB uploads", "GB/s", "CPU s/GB", "peak MB")
    for name, row in figures.items():
        table.add_row(name, *(f"{row[key]:.2f}" for key in ("GB/s", "CPU s/GB", "peak MB")))
    console.print(table)
    results = Path(__file__).parent / "results" / "receive.json"
    results.parent.mkdir(exist_ok=True)
    control = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    results.write_text(json.dumps({"rounds": ROUNDS, "congestion control": control, "medians": figures}, indent=1))
    console.print(f"written to {results}", style="dim")


if __name__ == "__main__":
    main()
