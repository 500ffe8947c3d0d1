"""The cost of a durable commit when many uploads commit concurrently, and how many commits share a flush of the disk.

Each upload repeatedly writes 64 KB and commits data and record: through the store as it is and, as the control, with a
single thread that waits for the disk, so that no two syncs overlap. The kernel counts the flushes of the disk
(/sys/dev/block). The rounds are interleaved, the figures are medians. Written to results/commits.json.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from shared import write_results

from changeover.uploads import FileStore
from changeover.uploads.core.manifest import Manifest
from changeover.uploads.core.record import encode
from changeover.uploads.stores import files
from changeover.uploads.stores.store import RecordVersion, Store

AT_ONCE = (1, 8, 64, 256)
ROUNDS = 5
COMMITS = 4
"""Commits of each upload in a round."""
SIZE = 64_000


@dataclass(frozen=True)
class Round:
    per_second: float
    """Commits per second."""
    flushes: float | None
    """Flushes of the disk for each commit."""
    cpu: float
    """CPU seconds for each commit."""


@contextmanager
def one_thread() -> Iterator[None]:
    own, files._DISK = files._DISK, ThreadPoolExecutor(1)
    try:
        yield
    finally:
        files._DISK.shutdown()
        files._DISK = own


@contextmanager
def as_it_is() -> Iterator[None]:
    yield


KINDS = {"as it is": as_it_is, "one thread": one_thread}


async def commit(store: Store, manifest: Manifest, version: RecordVersion, name: str) -> tuple[Manifest, RecordVersion]:
    writer = store.writer(manifest.id, name)
    writer.write(b"x" * SIZE)
    manifest = manifest.appended(await writer.commit())
    writer.close()
    return manifest, await store.swap(manifest.id, encode(manifest), version)


async def measured(folder: Path, at_once: int) -> Round:
    store = FileStore(folder)
    made = [Manifest(f"{number:020d}", "plain", 0.0, None) for number in range(at_once)]
    uploads = [(each, await store.create(each.id, encode(each))) for each in made]
    flushes, cpu, begun = flushed(folder), time.process_time(), time.perf_counter()
    for number in range(COMMITS):
        uploads = await asyncio.gather(*(commit(store, *each, str(number)) for each in uploads))
    took, commits, more = time.perf_counter() - begun, at_once * COMMITS, flushed(folder)
    shared = None if flushes is None or more is None else (more - flushes) / commits
    return Round(commits / took, shared, (time.process_time() - cpu) / commits)


def flushed(folder: Path) -> int | None:
    """Flushes of the disk below the folder so far (Documentation/block/stat.rst)."""
    device = folder.stat().st_dev
    try:
        fields = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text(encoding="utf-8").split()
        return int(fields[15])
    except (OSError, IndexError):
        return None


def main() -> None:
    console = Console(stderr=True)
    found: dict[tuple[int, str], list[Round]] = {(n, kind): [] for n in AT_ONCE for kind in KINDS}
    with tempfile.TemporaryDirectory(prefix="changeover-bench-") as folder:
        for number in range(ROUNDS):
            for (at_once, kind), rounds in found.items():
                console.print(f"round {number + 1} of {ROUNDS}: {at_once} at once, {kind}", highlight=False)
                root = Path(folder) / "uploads"
                root.mkdir()
                with KINDS[kind]():
                    rounds.append(asyncio.run(measured(root, at_once)))
                shutil.rmtree(root)
    table = Table("uploads at once", "", "commits/s", "flushes of the disk a commit", "CPU ms a commit")
    results = []
    for (at_once, kind), rounds in found.items():
        flushes = [each.flushes for each in rounds if each.flushes is not None]
        row = {
            "at_once": at_once,
            "kind": kind,
            "commits_per_second": statistics.median(each.per_second for each in rounds),
            "flushes_per_commit": statistics.median(flushes) if flushes else None,
            "cpu_seconds_per_commit": statistics.median(each.cpu for each in rounds),
        }
        results.append(row)
        shown = "" if not flushes else f"{row['flushes_per_commit']:.2f}"
        table.add_row(
            str(at_once), kind, f"{row['commits_per_second']:.0f}", shown, f"{1e3 * row['cpu_seconds_per_commit']:.2f}"
        )
    Console().print(table)
    write_results("commits", {"results": results}, console)


if __name__ == "__main__":
    main()
