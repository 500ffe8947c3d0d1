"""The throughput of two relays on one address (`--reuse-port`) over that of one, each with a fixed share of a core.

Load and sink need processors, too, so on a small machine two unbounded workers cannot show what they would carry. Here
each worker is in a cgroup that gives it a share of a core, small enough that load, sink and both workers together leave
processors free. Then two workers carry twice as much as one, unless they share anything but processors.

The rounds alternate which goes first, and a ratio compares the two runs of one round. Every request is counted: the
load refuses whatever is not a success, and the sink a body that is not as long as its head says. Refuses to measure,
and says so, where no cgroup with a bound for CPU can be made: that needs root.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from proxies import network
from proxies.load import CONGESTION, Case, run
from proxies.measure import WARM, cpu, sink
from proxies.peers import SBIN
from rich.console import Console
from rich.table import Table
from shared import write_results

from changeover.kit import process, sockets

MB = 1_000_000
CASES = (
    Case("10 KB x 64", 10_000, 64, 6000),
    # More requests than connections: where the kernel gives one worker more connections, the other takes the rest.
    Case("50 MB x 64", 50 * MB, 64, 160),
    Case("50 MB x 8", 50 * MB, 8, 48),
)
ROUNDS = 5
SHARE = 0.15
"""Of a core, for each worker."""
PERIOD = 10_000
"""Microseconds in which a worker may use its share: short, so that the other end does not wait long for it."""
STARTS = 20.0
"""Seconds until a worker must listen."""
LOCAL = "127.0.0.1"


class NoBound(Exception):
    """No cgroup that bounds CPU can be made here."""


@dataclass(frozen=True)
class Run:
    """`used`: cores that each worker used; `all_used`: with load and sink."""

    rate: float
    used: float
    all_used: float


@contextlib.contextmanager
def bounded(name: str) -> Iterator[Path]:
    """A cgroup whose processes have `SHARE` of a core, until they have ended. Raises NoBound."""
    group = _cpu_groups() / name
    quota = round(SHARE * PERIOD)
    try:
        group.mkdir()
    except OSError as error:
        raise NoBound(f"{group} cannot be made: {error.strerror}") from error
    try:
        if (most := group / "cpu.max").exists():
            most.write_text(f"{quota} {PERIOD}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        yield group
    finally:
        group.rmdir()


def _cpu_groups() -> Path:
    """The root of the hierarchy with the cpu controller: version 1 where it is mounted, else 2."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    for _, folder, kind, options, *_ in mounts:
        if kind == "cgroup" and "cpu" in options.split(","):
            return Path(folder)
    for _, folder, kind, *_ in mounts:
        if kind == "cgroup2" and "cpu" in (Path(folder) / "cgroup.subtree_control").read_text(encoding="utf-8").split():
            return Path(folder)
    raise NoBound("no cpu controller is mounted")


def measure(workers: int, case: Case, sink_pid: int, sink_port: int) -> Run:
    """One run with newly started relays. Raises NoBound, LoadFailed and OSError."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="changeover-bench-")))
        port = sockets.free_port(LOCAL, {sink_port})
        pids = [_start(stack, folder / str(number), port, sink_port) for number in range(workers)]
        run(port, replace(case, size=min(case.size, WARM.size), requests=case.connections))
        before = [cpu(pid) for pid in pids]
        others = time.process_time() + cpu(sink_pid)
        seconds, times = run(port, case)
        used = sum(cpu(pid) - at for pid, at in zip(pids, before, strict=True))
        others = time.process_time() + cpu(sink_pid) - others
    if len(times) != case.requests:
        sys.exit(f"{case.name}: {len(times)} of {case.requests} requests were answered")
    return Run(case.requests / seconds, used / seconds / workers, (used + others) / seconds)


def _start(stack: contextlib.ExitStack, home: Path, port: int, sink_port: int) -> int:
    """A relay that listens, within its bound."""
    home.mkdir()
    group = stack.enter_context(bounded(f"changeover-bench-{os.getpid()}-{home.name}"))
    admin = sockets.free_port(LOCAL, {port, sink_port})
    places = ("--listen", f"{LOCAL}:{port}", "--upstream", f"{LOCAL}:{sink_port}", "--admin", f"{LOCAL}:{admin}")
    argv = (sys.executable, "-m", "changeover.cli.commands.relay", *places, "--reuse-port", "--segment", "POST /upload")
    pid, born = process.spawn(argv, home=home, env={**os.environ, "PATH": SBIN})
    stack.callback(process.kill_session, pid, born)
    deadline = time.monotonic() + STARTS
    while not _accepts(admin):  # it comes after the listeners
        if not process.is_alive(pid, born) or time.monotonic() > deadline:
            sys.exit(f"a relay does not listen:\n{(home / 'log').read_text(encoding='utf-8')}")
        time.sleep(0.02)
    (group / "cgroup.procs").write_text(str(pid))
    return pid


def _accepts(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex((LOCAL, port)) == 0


def compare(case: Case, console: Console) -> dict[str, float | list[float]]:
    """Medians of the rounds, and the quartiles of the ratio."""
    rounds: list[dict[int, Run]] = []
    with sink() as (pid, port):
        for number in range(ROUNDS):
            order = (1, 2) if number % 2 else (2, 1)
            one = {workers: measure(workers, case, pid, port) for workers in order}
            console.print(f"{case.name}, round {number + 1} of {ROUNDS}: {one[2].rate / one[1].rate:.2f}", style="dim")
            rounds.append(one)
    low, middle, high = statistics.quantiles((one[2].rate / one[1].rate for one in rounds), n=4)
    found: dict[str, float | list[float]] = {"2 over 1 (median, quartiles)": [middle, low, high]}
    for workers in (1, 2):
        runs = [one[workers] for one in rounds]
        found |= {
            f"requests/s, {workers}": statistics.median(run.rate for run in runs),
            f"cores of each worker, {workers}": statistics.median(run.used for run in runs),
            f"cores of all, {workers}": statistics.median(run.all_used for run in runs),
        }
    return found


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as Ctrl-C does: no relay is left running
    console = Console(width=160)
    network.enter(CONGESTION.decode())
    try:
        found = {case.name: compare(case, console) for case in CASES}
    except NoBound as error:
        console.print(f"left out: no writable cpu cgroup ({error})", style="yellow")
        return
    console.print(_table(found))
    conditions = {"rounds": ROUNDS, "share of a core": SHARE, "processors": os.cpu_count()}
    write_results("workers", {**conditions, **found}, console)


def _table(found: Mapping[str, Mapping[str, float | list[float]]]) -> Table:
    columns = list(next(iter(found.values())))
    table = Table("case", *columns)
    for case, row in found.items():
        table.add_row(case, *(_shown(row[column]) for column in columns))
    return table


def _shown(value: float | Sequence[float]) -> str:
    return f"{value:,.3g}" if isinstance(value, float) else "{:.2f} ({:.2f} to {:.2f})".format(*value)


if __name__ == "__main__":
    main()
