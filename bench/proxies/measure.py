"""One figure: a proxy is started, warmed, loaded and ended, and what that cost is read from the kernel.

CPU is user and system time of all the proxy's processes, to the nanosecond; that of the whole machine has ticks of
10 ms, and whatever else runs here is in it.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from proxies.load import Case, LoadFailed, run
from proxies.peers import SBIN, Peer

from changeover.kit import process, sockets

TICKS = os.sysconf("SC_CLK_TCK")
START = 20.0
"""Seconds a proxy may take to answer its first request."""
WARM = Case("warm", 8_000_000, 8, 8)


@dataclass(frozen=True)
class Figures:
    """CPU in seconds, peak resident memory in bytes; `proxy_cpu` and `peak` are 0 without a proxy."""

    seconds: float
    moved: int
    requests: int
    proxy_cpu: float
    load_cpu: float
    sink_cpu: float
    machine_cpu: float
    peak: int
    p50: float
    p99: float


class Failed(Exception):
    """A peer that did not start or did not carry the load; with the end of its log."""


@contextmanager
def sink() -> Iterator[tuple[int, int]]:
    """(pid, port) of a sink that runs meanwhile."""
    with _running(Peer("sink", "python", _sink), 0) as (pid, port, _):
        yield pid, port


def _sink(_: Path, port: int, __: int) -> tuple[str, ...]:
    return (sys.executable, str(Path(__file__).with_name("sink.py")), str(port))


def measure(peer: Peer | None, case: Case, sink_pid: int, sink_port: int) -> Figures:
    """`peer` None is the limit: no proxy at all. Raises Failed."""
    if peer is None:
        return _load(case, sink_port, None, sink_pid)
    with _running(peer, sink_port) as (pid, port, log):
        try:
            return _load(case, port, pid, sink_pid)
        except (OSError, LoadFailed) as error:
            raise Failed(f"{error} {_end(log)}") from error


def _load(case: Case, port: int, proxy: int | None, sink_pid: int) -> Figures:
    run(port, replace(case, size=min(case.size, WARM.size), requests=case.connections))
    sender, taker, busy = time.process_time(), cpu(sink_pid), _machine()
    before = _family_cpu(proxy)
    seconds, times = run(port, case)
    proxy_cpu, load_cpu, sink_cpu = _family_cpu(proxy) - before, time.process_time() - sender, cpu(sink_pid) - taker
    times.sort()
    return Figures(
        seconds=seconds,
        moved=case.size * case.requests,
        requests=case.requests,
        proxy_cpu=proxy_cpu,
        load_cpu=load_cpu,
        sink_cpu=sink_cpu,
        machine_cpu=_machine() - busy,
        peak=sum(_peak(pid) for pid in family(proxy)),
        p50=statistics.median(times),
        p99=times[int(len(times) * 0.99)],
    )


@contextmanager
def _running(peer: Peer, sink_port: int) -> Iterator[tuple[int, int, Path]]:
    folder = Path(tempfile.mkdtemp(prefix="changeover-bench-"))
    port = sockets.free_port("127.0.0.1", {sink_port})
    log = folder / "log"
    pid, born = process.spawn(
        peer.command(folder, port, sink_port), home=folder, env={**os.environ, "PATH": SBIN, **peer.env}
    )
    try:
        _answering(peer, pid, born, port, log)
        yield pid, port, log
    finally:
        process.kill_session(pid, born)
        shutil.rmtree(folder)


def _answering(peer: Peer, pid: int, born: int, port: int, log: Path) -> None:
    deadline = time.monotonic() + START
    while True:
        try:
            run(port, Case("first", 1000, 1, 1))
        except (OSError, LoadFailed) as error:
            if not process.is_alive(pid, born):
                raise Failed(f"{peer.name} ended at once: {_end(log)}") from error
            if time.monotonic() > deadline:
                raise Failed(f"{peer.name} does not answer: {error} {_end(log)}") from error
            time.sleep(0.02)
        else:
            return


def _end(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace").strip()[-200:]


def family(pid: int | None) -> list[int]:
    """The process and its children; none of none."""
    if pid is None:
        return []
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split())]


def _family_cpu(pid: int | None) -> float:
    return sum(cpu(one) for one in family(pid))


def cpu(pid: int) -> float:
    """Of all its threads, as clock_getcpuclockid(3) names the clock."""
    return time.clock_gettime(~pid << 3 | 2)


def _machine() -> float:
    """user, nice, system, irq and softirq of every processor (/proc/stat)."""
    user, nice, system, _, _, irq, softirq, *_ = Path("/proc/stat").read_text(encoding="utf-8").split(maxsplit=8)[1:8]
    return sum(map(int, (user, nice, system, irq, softirq))) / TICKS


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
