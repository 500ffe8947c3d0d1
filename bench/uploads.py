"""The cost of receiving uploads: this library beside other servers, in one run.

    python bench/uploads.py              50 MB at 1, 8 and 64 at once, 1 GB at 1 and 8; slow and half-made uploads
    python bench/uploads.py --sample     one round of 50 MB at 8 at once; fewer slow and half-made uploads
    python bench/uploads.py --case "1000 MB, 8 at once" --only @tus/server --only "changeover receive, durable"

CPU seconds per GB (user and system, of all processes of the server), GB/s, and memory of the same processes, at rest
before the first upload and at its peak. The rounds are interleaved and the figures are medians. Compare the ratios: the
machine and its disk are shared.

@tus/server, tuspyserver and nginx never sync; `durable` is the default of this library, `page cache` does not sync
either. `synced` adds the CPU that it costs afterwards to make all bytes durable, so that every server is compared with
`durable` for the same promise. All receive tus uploads in two requests, except nginx, which receives a plain PUT.

Before each round the page cache is full, as on every server that has run for a while. Otherwise a virtual machine whose
free memory its host takes back (free page reporting of the balloon) pays for each page again where it is first written:
0.8 to 3 CPU seconds for a GB, in place of 0.3, by chance charged to one server or to another.

Then 1,000 clients send slowly, for the cost of an upload in flight, and 10,000 clients disconnect during their
uploads, for the cost of their collection. Written to results/uploads.json.
"""

from __future__ import annotations

import argparse
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
from collections.abc import Callable, Iterator, Sequence
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
TUS, TUSPY, NGINX = "@tus/server", "tuspyserver under uvicorn", "nginx dav, 1 MB buffers"
PEERS = {TUS: "tus", TUSPY: "tuspy", NGINX: "nginx"}
"""Servers to compare with, and their names in the columns."""
MORE = 512 * 1024 * 1024
"""Bytes that are read beyond what is free, so that the pages the kernel keeps free were in use a moment ago."""
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


KINDS = (Kind(50_000_000, 1, 8), Kind(50_000_000, 8, 2), Kind(50_000_000, 64), Kind(10**9, 1), Kind(10**9, 8))


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
    Server(TUSPY, _uvicorn("tuspy")),
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


class PageCache:
    """Fills free memory with pages of an empty file, which occupies no disk. The kernel reuses them first."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._size = _memory("MemTotal")
        self._offset = 0
        os.truncate(file, self._size)

    def fill(self) -> None:
        """Read on from where the last fill ended: what the kernel has reused meanwhile is what was read first."""
        buffer = bytearray(4 * 1024 * 1024)
        for _ in range(0, _memory("MemFree") + MORE, len(buffer)):
            self._offset = (self._offset + os.preadv(self._file, [buffer], self._offset)) % self._size


def _memory(name: str) -> int:
    """Bytes, from /proc/meminfo."""
    found = Path("/proc/meminfo").read_text(encoding="utf-8").partition(f"{name}:")[2]
    return int(found.split()[0]) * 1024


def measure(server: Server, kind: Kind, cache: PageCache) -> dict[str, float]:
    """One round: start the server, send uploads, read its counters, stop it."""
    with running(server) as it:
        cache.fill()
        rest, before, started = it.memory("VmRSS"), it.cpu(), time.perf_counter()
        load.upload(it.port, server.dialect, kind.size, kind.at_once, kind.each)
        seconds, gigabytes = time.perf_counter() - started, kind.size * kind.at_once * kind.each / 1e9
        cpu = it.cpu() - before
        return {
            "CPU s/GB": cpu / gigabytes,
            "GB/s": gigabytes / seconds,
            "MB at rest": rest,
            "peak MB": it.memory(),
            "CPU s/GB, synced": (cpu + sync(it.data.parent)) / gigabytes,
        }


def sync(folder: Path) -> float:
    """Make every file durable. Returns the CPU that it took, in seconds: little for a file that is synced already."""
    before = time.process_time()
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fdatasync(file.fileno())
    return time.process_time() - before


Figures = dict[str, dict[str, dict[str, float]]]
"""By kind and server."""


def compare(kinds: Sequence[Kind], servers: Sequence[Server], rounds: int) -> Figures:
    seen: dict[tuple[Kind, Server], list[dict[str, float]]] = {}
    with tempfile.TemporaryFile() as file:
        cache = PageCache(file.fileno())
        for number in range(rounds):
            for kind in kinds:
                for server in servers:
                    CONSOLE.print(f"round {number + 1} of {rounds}: {kind}: {server.name}", style="dim")
                    seen.setdefault((kind, server), []).append(measure(server, kind, cache))
    figures: Figures = {}
    for (kind, server), found in seen.items():
        row = {key: statistics.median(one[key] for one in found) for key in found[0]}
        figures.setdefault(str(kind), {})[server.name] = row
    for rows in figures.values():
        for name, short in PEERS.items():
            if name in rows:
                for what in ("", ", synced"):
                    peer = rows[name][f"CPU s/GB{what}"]
                    for row in rows.values():
                        row[f"x {short}{what}"] = row[f"CPU s/GB{what}"] / peer
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
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "--sample", action="store_true", help="one round of one case; fewer slow and half-made uploads"
    )
    options.add_argument("--case", action="append", choices=[str(kind) for kind in KINDS], help="only this one")
    options.add_argument("--only", action="append", choices=[each.name for each in SERVERS], help="only this server")
    options.add_argument("--rounds", type=int, help="of each case (default: 3; with --sample: 1)")
    asked = options.parse_args()
    rounds = asked.rounds or (1 if asked.sample else 3)
    cases = asked.case or ([str(KINDS[1])] if asked.sample else [str(kind) for kind in KINDS])
    conditions = {
        "rounds": rounds,
        "congestion control": f"{load.CONGESTION.decode()} (the clients' sockets)",
        "congestion control of the system": Path("/proc/sys/net/ipv4/tcp_congestion_control")
        .read_text(encoding="utf-8")
        .strip(),
        "processors": os.cpu_count(),
    }
    CONSOLE.print(conditions, style="dim")
    servers = [server for server in SERVERS if server.name in (asked.only or [each.name for each in SERVERS])]
    figures = compare([kind for kind in KINDS if str(kind) in cases], servers, rounds)
    for title, rows in figures.items():
        show(title, rows)
    found: dict[str, object] = {"conditions": conditions, "medians": figures}
    if not (asked.case or asked.only):
        slowly = {server.name: slow(server, 200 if asked.sample else 1000) for server in (RECEIVE, UVICORN)}
        show("slow uploads", slowly)
        half = {"collection": half_made(500 if asked.sample else 10_000)}
        show("half-made uploads", half)
        found |= {"slow uploads": slowly, "half-made uploads": half}
    write_results("uploads", found, CONSOLE)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--collect"]:
        asyncio.run(collect(Path(sys.argv[2])))
    else:
        main()
