"""Makes the text of `/metrics`: reads each state folder, at most once a second however many ask.

A folder whose journal cannot be read shows `changeover_journal_readable` 0 and nothing else, and the reason is logged.
Refuses to open a journal that is not there: to open one would create it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from changeover import chain_files
from changeover.engine.figures import read_figures
from changeover.engine.journal.reading import JournalReader
from changeover.kit.clock import Clock
from changeover.model.chainfile import ParsedChain
from changeover.model.errors import ChangeoverError
from changeover.web.metrics.definitions import METRICS, PREFIX
from changeover.web.metrics.log_counts import LogCounts
from changeover.web.metrics.machine import Machine
from changeover.web.metrics.samples import Samples, take_chain

AGE = 1.0
"""Seconds for which one text answers every scrape."""
OUTDATED = 2.0
"""Seconds after which a text answers nothing any more. A scraper that asks less often than that gets a new one."""
LEVEL = 3
"""Of gzip: 41 kB become 3.7 kB in 0.07 ms; the highest level makes 3.1 kB in 0.65 ms."""

_LOG = logging.getLogger(__name__)


@dataclass
class _Folder:
    """What is kept of a state folder between scrapes."""

    path: Path
    counts: LogCounts = field(default_factory=LogCounts)
    machine: Machine = field(default_factory=Machine)
    journal: tuple[int, int] = (0, 0)
    """Device and inode: another file begins another log."""
    stamp: tuple[int, int] = (0, 0)
    """Of the chain file: when it changed, and its size."""
    parsed: ParsedChain | None = None
    unread: str = ""
    """Why its chain file could not be read."""
    fault: str = ""
    """Why it could not be read, as it was logged."""


@dataclass(frozen=True)
class Exposition:
    """One text in Prometheus' format, and the same compressed by gzip: a tenth of the bytes."""

    plain: bytes
    compressed: bytes


class MetricsText:
    """The text for these state folders."""

    def __init__(self, states: Sequence[Path]) -> None:
        self._folders = [_Folder(path) for path in states]
        self._last: tuple[float, Exposition] | None = None
        self._building: asyncio.Task[Exposition] | None = None

    async def text(self) -> Exposition:
        """The text, AGE old at most; OUTDATED at most while the next one is built, so that no storm waits for it."""
        age = float("inf") if self._last is None else time.monotonic() - self._last[0]
        if age >= AGE and self._building is None:
            self._building = asyncio.create_task(self._build_next())
        if self._last is not None and age < OUTDATED:
            return self._last[1]
        assert self._building is not None
        return await asyncio.shield(self._building)  # the others wait for it too, when this client leaves

    async def _build_next(self) -> Exposition:
        try:
            built = await asyncio.to_thread(self._expose)
            self._last = time.monotonic(), built
            return built
        finally:
            self._building = None

    def _expose(self) -> Exposition:
        plain = self.build()
        return Exposition(plain, gzip.compress(plain, LEVEL))

    def build(self) -> bytes:
        """The text of this moment."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Families(self._take()))
        return generate_latest(registry)

    def _take(self) -> Samples:
        out = Samples()
        labels = self._labels()
        for folder in self._folders:
            fault = _take_folder(out, folder, labels[folder.path])
            if fault and fault != folder.fault:
                _LOG.warning("no metrics of %s: %s", folder.path, " ".join(fault.split()))
            folder.fault = fault
            out.add("journal_readable", not fault, str(folder.path))
        return out

    def _labels(self) -> dict[Path, str]:
        """A label for each chain: its name, and also its folder where two chains have one name."""
        names = {folder.path: _name(folder) for folder in self._folders}
        often = Counter(names.values())
        return {path: name if often[name] == 1 else f"{name} in {path}" for path, name in names.items()}


def _name(folder: _Folder) -> str:
    """The chain's name, after its file was read anew if it changed; the folder's where there is none yet."""
    file, folder.unread = folder.path / chain_files.COPY, ""
    try:
        found = file.stat()
        if folder.stamp != (stamp := (found.st_mtime_ns, found.st_size)):
            folder.parsed = chain_files.read_chain(file, stored=True)[0]
            folder.stamp = stamp
    except FileNotFoundError:  # no chain was ever started here
        folder.parsed, folder.stamp = None, (0, 0)
    except (OSError, ChangeoverError) as error:
        folder.parsed, folder.stamp, folder.unread = None, (0, 0), str(error)
    return folder.parsed.chain.name if folder.parsed else folder.path.name


def _take_folder(out: Samples, folder: _Folder, label: str) -> str:
    """Add the chain's values, all or none. Returns why there are none."""
    if folder.unread:
        return folder.unread
    file, own = folder.path / "journal.db", Samples()
    try:
        found = file.stat()
        if folder.journal != (identity := (found.st_dev, found.st_ino)):
            folder.journal, folder.counts = identity, LogCounts()
        with contextlib.closing(JournalReader(file)) as journal:
            folder.counts.take(journal.log_after(folder.counts.seq))
            now = Clock(not_before=journal.latest()).now()  # the controllers' clock, which never goes back
            figures = read_figures(folder.path, now)
            take_chain(own, label, journal, folder.parsed, folder.counts, figures, now)
            if folder.parsed is not None and journal.is_up():
                folder.machine.take(own, label, journal, folder.parsed)
    except FileNotFoundError:
        return "it has no journal"
    except (ChangeoverError, OSError, sqlite3.Error) as error:
        return str(error)
    for name, values in own.values.items():
        out.values[name] += values
    for name, histograms in own.histograms.items():
        out.histograms[name] += histograms
    return ""


class _Families(Collector):
    """Samples as the client library wants them."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        for name, metric in METRICS.items():
            about = (PREFIX + name, metric.help)
            if metric.kind == "histogram":
                histogram = HistogramMetricFamily(*about, labels=metric.labels)
                for labels, buckets, total in self._samples.histograms.get(name, ()):
                    histogram.add_metric(labels, buckets, total)
                if histogram.samples:
                    yield histogram
                continue
            family = (CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily)(
                *about, labels=metric.labels
            )
            for labels, value in self._samples.values.get(name, ()):
                family.add_metric(labels, value)
            if family.samples:
                yield family
