"""Figures of a chain that are no decisions, in `figures.db` beside its journal: counts of probes, measured values, and
what guards have sampled.

Any process adds to the counts, with the lease or without, several at a time; a restart loses none. A measured value
belongs to its source, which replaces all of its own; a reader drops those that are older than FRESH. The names and
labels come from the program, so the file stays small. Nothing here is synced to disk: a loss of power may cost the last
seconds, and no rollout waits for a figure. Refuses to migrate: counts of another format begin anew, as counters may.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

FILE = "figures.db"
"""In the state folder."""
FORMAT = 1
FRESH = 15.0
"""Seconds for which a measured value stands for the present. Its source writes it every few seconds."""
LATENCIES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
"""Upper bounds, in seconds, of the buckets in which latencies are counted; the last bucket has none."""
SAMPLES = 20_000
"""Samples of guards that are kept, the last ones: hours of a rollout with several conditions."""
_BUSY = 1.0  # seconds that a write waits for one of another process

Labels = tuple[str, ...]
"""Values of labels. Their names belong to the metric."""
Values = Mapping[tuple[str, Labels], float]
"""Name of a figure and its labels -> value."""


def bound_text(seconds: float) -> str:
    """A bound as Prometheus' label `le` has it."""
    return f"{seconds:.1f}" if seconds == int(seconds) else f"{seconds:g}"


def bucket_of(seconds: float) -> str:
    """The bound of the bucket of LATENCIES that a latency falls into."""
    return next((bound_text(bound) for bound in LATENCIES if seconds <= bound), "+Inf")


@dataclass(frozen=True)
class Figures:
    """What the file holds: `counts` since its beginning, and the `measured` values that are fresh."""

    counts: Values
    measured: Values


@dataclass(frozen=True)
class GuardSample:
    """What one look at a condition of a guard gave, at a time in seconds since the epoch.

    `value` None: nothing, and `missing` says why. `limit`: what the condition allows at most; None where it compares
    the value with `baseline`. `interval`: seconds until it is looked at again.
    """

    tier: str
    condition: str
    at: float
    value: float | None
    baseline: float | None
    limit: float | None
    interval: float
    missing: str


class FiguresStore:
    """The figures of one state folder, for writing. Each method raises sqlite3.Error where the file cannot be used."""

    def __init__(self, state: Path) -> None:
        self._file = state / FILE

    def add(self, counts: Values) -> None:
        """Add to the counts, all or nothing. A count of 0 begins one: only then is its first increase seen."""
        with self._write() as db:
            for (name, labels), value in counts.items():
                db.execute(
                    "insert into counts values (?, ?, ?) on conflict do update set value = value + excluded.value",
                    (name, json.dumps(labels), value),
                )

    def show(self, source: str, measured: Values, at: float) -> None:
        """Replace the measured values of a source. `at`: seconds since the epoch."""
        with self._write() as db:
            db.execute("delete from measured where source = ?", (source,))
            for (name, labels), value in measured.items():
                db.execute("insert into measured values (?, ?, ?, ?, ?)", (source, name, json.dumps(labels), value, at))

    def record(self, samples: Sequence[GuardSample]) -> None:
        """Add samples of guards to the series."""
        if not samples:
            return
        with self._write() as db:
            # Not part of FORMAT: a program without it leaves it alone, and its counts stay.
            db.execute(_SAMPLES)
            db.executemany("insert into guard_samples values (?, ?, ?, ?, ?, ?, ?, ?)", map(astuple, samples))
            db.execute(
                "delete from guard_samples where rowid <= (select max(rowid) from guard_samples) - ?", (SAMPLES,)
            )

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self._file, timeout=_BUSY, isolation_level=None)
        try:
            db.execute("pragma journal_mode = wal")
            db.execute("pragma synchronous = off")
            db.execute("begin immediate")
            _create(db)
            yield db
            db.execute("commit")
        finally:
            db.close()  # what is not committed is rolled back


_SAMPLES = """create table if not exists guard_samples (tier text not null, condition text not null, at real not null,
    value real, baseline real, threshold real, interval real not null, missing text not null)"""


def _create(db: sqlite3.Connection) -> None:
    (version,) = db.execute("pragma user_version").fetchone()
    if version == FORMAT:
        return
    for table in ("counts", "measured"):
        db.execute(f"drop table if exists {table}")
    db.execute("create table counts (name text, labels text, value real not null, primary key (name, labels))")
    db.execute("create table measured (source text, name text, labels text, value real not null, at real not null)")
    db.execute(f"pragma user_version = {FORMAT}")


def read_figures(state: Path, now: float) -> Figures:
    """The figures of a state folder; none where nothing wrote any. Raises sqlite3.Error."""
    file = state / FILE
    if not file.exists():
        return Figures({}, {})
    with _reading(file) as db:
        (version,) = db.execute("pragma user_version").fetchone()
        if version != FORMAT:
            return Figures({}, {})
        counts = db.execute("select name, labels, value from counts").fetchall()
        since = now - FRESH
        measured = db.execute("select name, labels, value from measured where at >= ? order by at", (since,)).fetchall()
    return Figures(
        *({(name, tuple(json.loads(labels))): value for name, labels, value in of} for of in (counts, measured))
    )


def read_samples(state: Path, tier: str, start: float, end: float) -> Sequence[GuardSample]:
    """The samples of a tier's guards in that time, the oldest first. Raises sqlite3.Error."""
    file = state / FILE
    if not file.exists():
        return ()
    with _reading(file) as db:
        if not db.execute("select 1 from sqlite_master where name = 'guard_samples'").fetchall():
            return ()
        rows = db.execute(
            "select * from guard_samples where tier = ? and at between ? and ? order by at", (tier, start, end)
        )
        return [GuardSample(*row) for row in rows]


@contextmanager
def _reading(file: Path) -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=_BUSY)
    try:
        yield db
    finally:
        db.close()
