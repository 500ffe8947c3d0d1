"""The cost of receiving uploads: this library beside other servers, in one run.

    python bench/uploads.py              50 MB at 1, 8 and 64 at once, 1 GB at 1 and 8; slow and half-made uploads
    python bench/uploads.py --sample     one round of 50 MB at 8 at once; fewer slow and half-made uploads

CPU seconds per GB (user and system, of all processes of the server), GB/s, and peak memory of the same processes. The
rounds are interleaved and the figures are medians. Compare the ratios: the machine and its disk are shared.
@tus/server, tuspyserver and nginx never sync; `durable` is the default of this library, `page cache` does not sync
either. All receive tus uploads in two requests, except nginx, which receives a plain PUT.

Then 1,000 clients send slowly, for the cost of an upload in flight, and 10,000 clients disconnect during their
uploads, for the cost of their collection. Written to results/uploads.json.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import load
from rich.console import Console
from rich.table import Table
from shared import write_results

from changeover.hops.nginx import binary
from changeover.kit import process, sockets
from changeover.uploads import CompletedUpload, FileStore, Response
from changeover.uploads.core.engine import Engine

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
TUS, NGINX = "@tus/server", "nginx dav, 1 MB buffers"
CONSOLE = Console(width=120)


@dataclass(frozen=True)
class Server:
    """A receiver: its command for a folder and a port, whether it syncs, and the dialect of its clients."""

    name: str
    command: Callable[[Path, int], tuple[str, ...]]
    durable: bool = False
    dialect: str = "tus"


@dataclass(frozen=True)
class Kind:
    """Traffic: bytes of an upload, concurrent uploads, and successive uploads of each client."""

    size: int
    at_once: int
    each: int = 1

    def __str__(self) -> str:
        return f"{self.size // 1_000_000} MB, {self.at_once} at once"


@dataclass(frozen=True)
class Plan:
    """The extent of a run."""

    rounds: int
    kinds: tuple[Kind, ...]
    once: tuple[Kind, ...]
    """In the first round only, because it fills the disk."""
    slow: int
    half_made: int


FULL = Plan(
    rounds=3,
    kinds=(Kind(50_000_000, 1, 8), Kind(50_000_000, 8, 2), Kind(50_000_000, 64), Kind(10**9, 1)),
    once=(Kind(10**9, 8),),
    slow=1000,
    half_made=10_000,
)
SAMPLE = Plan(rounds=1, kinds=(Kind(50_000_000, 8, 2),), once=(), slow=200, half_made=500)


# -- servers ---------------------------------------------------------------------------------------------------------


def _uvicorn(app: str) -> Callable[[Path, int], tuple[str, ...]]:
    options = ("--factory", "--http", "httptools", "--loop", "uvloop", "--no-access-log", "--log-level", "warning")
    return lambda _, port: (sys.executable, "-m", "uvicorn", f"served:{app}", *options, "--port", str(port))


def _granian(_: Path, port: int) -> tuple[str, ...]:
    options = ("--factory", "--interface", "asgi", "--loop", "uvloop", "--no-ws", "--log-level", "warning")
    return (str(Path(sys.executable).with_name("granian")), "served:ours", *options, "--port", str(port))


def _receive(*options: str) -> Callable[[Path, int], tuple[str, ...]]:
    command = (sys.executable, "-m", "changeover", "receive", *options)
    return lambda folder, port: (*command, "--folder", str(folder / "data"), "--port", str(port))


def _tus(folder: Path, port: int) -> tuple[str, ...]:
    return ("node", str(HERE / "peers" / "server.mjs"), str(folder / "data"), str(port))


def _nginx(folder: Path, port: int) -> tuple[str, ...]:
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid pid; error_log stderr; events {{}} http {{ access_log off; client_max_body_size 0;"
        f" client_body_buffer_size 1m; client_body_temp_path tmp; server {{ listen 127.0.0.1:{port}; root {folder};"
        " location /put/ { dav_methods PUT; create_full_put_path on; } location / { return 200; } } }"
    )
    return (binary.find().path, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr")


RECEIVE = Server("changeover receive, durable", _receive(), durable=True)
RECEIVE_CACHED = Server("changeover receive, page cache", _receive("--no-durable"))
UVICORN = Server("library under uvicorn, durable", _uvicorn("ours"), durable=True)
SERVERS = (
    RECEIVE,
    RECEIVE_CACHED,
    Server("library under granian, durable", _granian, durable=True),
    Server("library under granian, page cache", _granian),
    UVICORN,
    Server("library under uvicorn, page cache", _uvicorn("ours")),
    Server(TUS, _tus),
    Server("tuspyserver under uvicorn", _uvicorn("tuspy")),
    Server(NGINX, _nginx, dialect="put"),
)


class Running:
    """A running server and its use of the machine."""

    def __init__(self, pid: int, port: int, data: Path) -> None:
        self.pid = pid
        self.port = port
        self.data = data

    def cpu(self) -> float:
        """Seconds, user and system."""
        total = 0
        for one in _family(self.pid):
            fields = Path(f"/proc/{one}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def memory(self, of: str = "VmHWM") -> float:
        """MB: VmHWM, the peak, or VmRSS, now."""
        statuses = [Path(f"/proc/{one}/status").read_text(encoding="utf-8") for one in _family(self.pid)]
        return sum(int(status.partition(f"{of}:")[2].split()[0]) for status in statuses) / 1000


@contextmanager
def running(server: Server) -> Iterator[Running]:
    folder = Path(tempfile.mkdtemp(prefix="changeover-bench-"))
    data, port = folder / "data", sockets.free_port("127.0.0.1")
    data.mkdir()
    env = {"FOLDER": str(data), "PYTHONPATH": str(HERE), **({"DURABLE": "1"} if server.durable else {})}
    pid, start = process.spawn(server.command(folder, port), home=folder, env={**os.environ, **env})
    try:
        _wait_for(port, folder / "log")
        load.upload(port, server.dialect, 1_000_000, 1, 1)
        yield Running(pid, port, data)
    finally:
        process.kill_session(pid, start)
        shutil.rmtree(folder)


def _wait_for(port: int, log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            return load.Connection(port).close()
        except OSError:
            if time.monotonic() > deadline:
                sys.exit(f"a server did not come up:\n{log.read_text(encoding='utf-8')}")
            time.sleep(0.02)


def _family(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _family(int(child))


# -- measurements ----------------------------------------------------------------------------------------------------


def measure(server: Server, kind: Kind) -> dict[str, float]:
    """One round: start the server, send uploads, read its counters, stop it."""
    with running(server) as it:
        before, started = it.cpu(), time.perf_counter()
        load.upload(it.port, server.dialect, kind.size, kind.at_once, kind.each)
        seconds, gigabytes = time.perf_counter() - started, kind.size * kind.at_once * kind.each / 1e9
        return {
            "CPU s/GB": (it.cpu() - before) / gigabytes,
            "GB/s": gigabytes / seconds,
            "peak MB": it.memory(),
        }


def compare(plan: Plan) -> dict[str, dict[str, dict[str, float]]]:
    seen: dict[tuple[Kind, Server], list[dict[str, float]]] = {}
    for number in range(plan.rounds):
        for kind in (*plan.kinds, *(plan.once if number == 0 else ())):
            for server in SERVERS:
                CONSOLE.print(f"round {number + 1} of {plan.rounds}: {kind}: {server.name}", style="dim")
                seen.setdefault((kind, server), []).append(measure(server, kind))
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for (kind, server), rounds in seen.items():
        row = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        figures.setdefault(str(kind), {})[server.name] = row
    for rows in figures.values():
        tus, nginx = rows[TUS]["CPU s/GB"], rows[NGINX]["CPU s/GB"]
        for row in rows.values():
            row["work per CPU s, tus = 1"] = tus / row["CPU s/GB"]
            row["CPU, nginx = 1"] = row["CPU s/GB"] / nginx
    return figures


def slow(server: Server, count: int) -> dict[str, float]:
    """Clients that each send 4 kB about every second, for ten rounds."""
    with running(server) as it:
        before = it.memory("VmRSS")
        connections = [load.Connection(it.port) for _ in range(count)]
        with ThreadPoolExecutor(16) as pool:
            places = list(pool.map(lambda connection: connection.begin(50_000_000), connections))
        for connection, place in zip(connections, places, strict=True):
            connection.patch(place, 50_000_000)
        for _ in range(10):
            due = time.monotonic() + 1
            for connection in connections:
                connection.send(4096)
            time.sleep(max(0.0, due - time.monotonic()))
        peak = it.memory()
        for connection in connections:
            connection.close()
    return {"uploads at once": count, "peak MB": peak, "kB for each upload": (peak - before) * 1000 / count}


def half_made(count: int) -> dict[str, float]:
    """Clients send 10 kB of an upload and disconnect; then a collection removes the expired uploads."""
    with running(RECEIVE_CACHED) as it:

        def client(_: int) -> None:
            connection = load.Connection(it.port)
            connection.patch(connection.begin(50_000_000), 50_000_000)
            connection.send(10_000)
            connection.close()

        before = it.memory("VmRSS")
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(client, range(count)))
        after = it.memory("VmRSS")
        done = subprocess.run(
            [sys.executable, __file__, "--collect", it.data], capture_output=True, text=True, check=True
        )
    return {"half-made uploads": count, "MB more in the server": after - before, **json.loads(done.stdout)}


async def collect(folder: Path) -> None:
    """Collect in a separate process, so that its memory is that of a collection; prints the figures."""

    async def never(_: CompletedUpload) -> Response:
        raise AssertionError

    engine = Engine(FileStore(folder), never, now=lambda: time.time() + 10**6)
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    collected = await engine.collector.collect()
    after = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        "collected": collected,
        "seconds": time.perf_counter() - started,
        "CPU s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "MB more in the collector": (after.ru_maxrss - before.ru_maxrss) / 1000,
    }
    print(json.dumps(figures))


# -- output ----------------------------------------------------------------------------------------------------------


def show(title: str, rows: dict[str, dict[str, float]]) -> None:
    columns = list(next(iter(rows.values())))
    table = Table("", *columns, title=title)
    for name, row in rows.items():
        table.add_row(name, *(f"{row[key]:.2f}" if row[key] < 10 else f"{row[key]:.0f}" for key in columns))
    CONSOLE.print(table)


def main() -> None:
    plan = SAMPLE if "--sample" in sys.argv else FULL
    conditions = {
        "rounds": plan.rounds,
        "congestion control": f"{load.CONGESTION.decode()} (the clients' sockets)",
        "congestion control of the system": Path("/proc/sys/net/ipv4/tcp_congestion_control")
        .read_text(encoding="utf-8")
        .strip(),
        "processors": os.cpu_count(),
    }
    CONSOLE.print(conditions, style="dim")
    figures = compare(plan)
    for kind, rows in figures.items():
        show(kind, rows)
    slowly = {server.name: slow(server, plan.slow) for server in (RECEIVE, UVICORN)}
    show("slow uploads", slowly)
    half = {"collection": half_made(plan.half_made)}
    show("half-made uploads", half)
    found = {"conditions": conditions, "medians": figures, "slow uploads": slowly, "half-made uploads": half}
    write_results("uploads", found, CONSOLE)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--collect"]:
        asyncio.run(collect(Path(sys.argv[2])))
    else:
        main()
