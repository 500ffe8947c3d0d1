"""Counts the requests of a probe of a chain, for `/metrics` of `changeover serve`.

The counts go to the chain's state folder about once a second, in a thread, so that no request waits for the disk. They
are no evidence: the ledger is. Where they cannot be written, the probe says so once and goes on.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import get_args

from changeover.engine.figures import FiguresStore, Labels, bucket_of, read_figures
from changeover.probe.records.row import LedgerRow, RequestKind, RequestOutcome

VERSIONS = 20
"""Versions that one state folder separates; those after them are `other`."""
LONGEST = 64
"""Characters of a version's name that are kept."""
_PAUSE = 1.0  # seconds between two writes


class ProbeFigures:
    """The counts of one run. `note` gets a line where they cannot be written."""

    def __init__(self, state: Path, note: Callable[[str], None]) -> None:
        self._store, self._note = FiguresStore(state), note
        # 0 first: Prometheus sees no increase in a series that begins with its first lost request.
        self._counts: Counter[tuple[str, Labels]] = Counter()
        for kind in get_args(RequestKind):
            self._counts.update({("probe_requests_total", (kind, one)): 0 for one in get_args(RequestOutcome)})
        self._sums: dict[tuple[str, Labels], float] = defaultdict(float)
        self._versions = _versions_in(state)
        self._writing: asyncio.Task[None] | None = None
        self._written = time.monotonic()
        self._failed = False

    def saw(self, row: LedgerRow) -> None:
        """Count a row."""
        self._counts["probe_requests_total", (row.kind, row.outcome)] += 1
        self._counts["probe_latency_seconds_bucket", (row.kind, bucket_of(row.latency))] += 1
        self._sums["probe_latency_seconds_sum", (row.kind,)] += max(0.0, row.latency)
        if row.kind in ("get", "upload"):
            self._saw_version(row, self._known(row.version or "unknown"))
        self.tick()

    def _saw_version(self, row: LedgerRow, version: str) -> None:
        if version not in self._versions:
            self._versions.add(version)
            for one in get_args(RequestOutcome):
                self._counts["probe_version_requests_total", (version, one)] += 0
        self._counts["probe_version_requests_total", (version, row.outcome)] += 1
        if row.kind == "get":
            self._counts["probe_version_latency_seconds_bucket", (version, bucket_of(row.latency))] += 1
            self._sums["probe_version_latency_seconds_sum", (version,)] += max(0.0, row.latency)

    def _known(self, version: str) -> str:
        """A server may name anything: the versions of a state folder are bounded, and so is a name."""
        version = version[:LONGEST]
        return version if version in self._versions or len(self._versions) < VERSIONS else "other"

    def tick(self) -> None:
        """Write, if it is time and nothing is being written."""
        if (self._writing is None or self._writing.done()) and time.monotonic() - self._written >= _PAUSE:
            self._writing = asyncio.ensure_future(self._write())

    async def end(self) -> None:
        """Write what is left."""
        if self._writing is not None:
            await self._writing
        await self._write()

    async def _write(self) -> None:
        counts: dict[tuple[str, Labels], float] = {**self._counts, **self._sums}
        self._counts, self._sums, self._written = Counter(), defaultdict(float), time.monotonic()
        try:
            await asyncio.to_thread(self._store.add, counts)
        except sqlite3.Error as error:
            if not self._failed:
                self._failed = True
                self._note(f"the counts for /metrics cannot be written: {error}; the ledger has every request")


def _versions_in(state: Path) -> set[str]:
    """The versions that earlier probes of this folder saw."""
    try:
        counts = read_figures(state, 0.0).counts
    except (sqlite3.Error, ValueError):
        return set()  # the first write names the fault
    return {labels[0] for name, labels in counts if name == "probe_version_requests_total"}


@asynccontextmanager
async def counting(
    state: Path | None, note: Callable[[str], None]
) -> AsyncIterator[tuple[Callable[[LedgerRow], None], Callable[[], None]]]:
    """A listener to rows, and one that is called about once a second. Without a chain, neither does anything."""
    if state is None:
        yield (lambda _: None), (lambda: None)
        return
    figures = ProbeFigures(state, note)
    try:
        yield figures.saw, figures.tick
    finally:
        await figures.end()
