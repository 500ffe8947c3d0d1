"""What the report takes from ledgers: counts, the verdict, and the picture of the requests over time.

The same bytes give the same result, so that `verify` can compute it again. Refuses to hold a ledger in memory: it reads
the file twice, first for the sums, then for the window of the picture.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path

from changeover.model.errors import fail
from changeover.probe.records.histogram import Histogram
from changeover.probe.records.ledger import has_ended, is_growing, planned_kinds, read_ledger
from changeover.probe.records.row import LedgerRow, RequestKind
from changeover.probe.records.tally import Tally, moving_tier
from changeover.probe.verdict import KINDS, judge
from changeover.report.content import LedgerFile, Loss, LossMark, Moment, Requests, UploadBar

MOMENTS = 240
"""Intervals of the picture at most: about one for each four pixels."""
BARS = 300
"""Uploads that are drawn at most; broken ones first."""
LOSSES = 200
"""Broken requests that are listed at most; the verdict counts all."""
_INTERVALS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0, 86400.0)
_PIECE = 1 << 20

Window = tuple[float, float]
"""Start and end, in seconds since the epoch."""


def ledger_file(path: Path, size: int | None = None) -> LedgerFile:
    """A ledger as it is now, or its first `size` bytes. Raises ChangeoverError where it cannot be read.

    Without a `size` it ends after its last whole line, since a probe may be writing the next one.
    """
    growing = is_growing(path)  # before its bytes are read: a probe that ends meanwhile was not killed
    try:
        with path.open("rb") as file:
            end = _last_line_end(path) if size is None else size
            digest, left = hashlib.sha256(), end
            while left and (piece := file.read(min(_PIECE, left))):
                digest.update(piece)
                left -= len(piece)
    except OSError as error:
        raise fail(f"the ledger cannot be read: {error.strerror}", where=str(path)) from error
    ended = has_ended(path, end - left)
    return LedgerFile(
        name=path.name,
        sha256=digest.hexdigest(),
        size=end - left,
        planned=planned_kinds(path),
        growing=growing and not ended,
        ended=ended,
    )


def _last_line_end(path: Path) -> int:
    """Bytes up to the end of the last whole line."""
    size = path.stat().st_size
    with path.open("rb") as file:
        while size:
            start = max(0, size - _PIECE)
            file.seek(start)
            found = file.read(size - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            size = start
    return 0


def from_ledgers(
    files: Sequence[tuple[Path, LedgerFile]], window: Window | None, counted: Window | None = None
) -> Requests | None:
    """The requests of all these ledgers; None without any row. `window`: of the picture; None: all of the time.

    `counted`: the time of the verdict; None: all of it.

    Raises ChangeoverError where a line of a ledger is not a row.
    """
    tally, others, others_broken, sent = Tally(), 0, 0, list[Window]()
    for path, file in files:
        first, last = inf, -inf
        for row in read_ledger(path, file.size):
            first, last = min(first, row.scheduled), max(last, row.finished)
            if counted is None or _is_in(row, counted):
                tally.add(row)
            else:
                others, others_broken = others + 1, others_broken + (row.outcome != "ok")
        sent += [(first, last)] if first < inf else []
    if not sent:
        return None
    first, last = min(start for start, _ in sent), max(end for _, end in sent)
    start, end = window or (first, last)
    picture = _Picture(start, end, interval_of(end - start), counted or (-inf, inf))
    for path, file in files:
        for row in read_ledger(path, file.size):
            picture.add(row)
    return Requests(
        ledgers=tuple(file for _, file in files),
        verdict=replace(judge(tally, _planned([file for _, file in files], tally)), first_failures=()),
        whole=counted is None,
        others=others,
        others_broken=others_broken,
        sent=tuple(sent),
        first=first,
        last=last,
        interval=picture.interval,
        moments=picture.moments(),
        uploads=picture.bars(),
        uploads_in_window=len(picture.uploads),
        marks=picture.marks(),
        losses=tuple(sorted(picture.losses, key=lambda loss: loss.at)),
    )


def _is_in(row: LedgerRow, window: Window) -> bool:
    """Whether the request was due, or in flight, in that time."""
    return row.finished >= window[0] and row.scheduled <= window[1]


def _planned(files: Sequence[LedgerFile], tally: Tally) -> tuple[RequestKind, ...]:
    """The kinds that the headers name, and where one names none, the kinds that the ledgers hold."""
    named = {kind for file in files for kind in file.planned or ()}
    if any(file.planned is None for file in files):
        named |= {kind for kind in KINDS if tally.count(kind=kind) and kind != "check"}
    return tuple(kind for kind in KINDS if kind in named)


def interval_of(seconds: float) -> float:
    """Seconds of one interval of a picture of that many seconds."""
    return next((one for one in _INTERVALS if seconds / one <= MOMENTS), seconds / MOMENTS)


@dataclass
class _Picture:
    """What falls into the window, collected row by row."""

    start: float
    end: float
    interval: float
    counted: Window
    """Of the losses."""
    good: Counter[int] = field(default_factory=Counter)
    broken: Counter[int] = field(default_factory=Counter)
    latency: dict[int, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    uploads: list[UploadBar] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    marked: dict[tuple[int, str, str], LossMark] = field(default_factory=dict)

    def add(self, row: LedgerRow) -> None:
        if row.outcome != "ok" and _is_in(row, self.counted) and len(self.losses) < LOSSES:
            self.losses.append(_loss(row))
        if row.finished < self.start or (row.started if row.kind == "upload" else row.finished) > self.end:
            return
        at = int((row.finished - self.start) / self.interval)
        if row.kind == "get":
            (self.good if row.outcome == "ok" else self.broken)[at] += 1
            self.latency[at].add(row.latency)
        elif row.kind == "upload":
            self.uploads.append(
                UploadBar(
                    started=row.started,
                    finished=row.finished,
                    size=row.bytes_sent,
                    instance=row.instance or "no response",
                    version=row.version or "unknown",
                    outcome=row.outcome,
                )
            )
        if row.outcome != "ok" and row.finished <= self.end:
            key = at, moving_tier(row), row.reason or "unknown"
            mark = self.marked.get(key) or LossMark(at=row.finished, tier=key[1], reason=key[2], count=0)
            self.marked[key] = mark.model_copy(update={"at": min(mark.at, row.finished), "count": mark.count + 1})

    def moments(self) -> tuple[Moment, ...]:
        return tuple(
            Moment(
                at=self.start + at * self.interval,
                ok=self.good[at],
                broken=self.broken[at],
                p50_ms=self._quantile(at, 0.5),
                p99_ms=self._quantile(at, 0.99),
            )
            for at in range(int((self.end - self.start) / self.interval) + 1)
        )

    def _quantile(self, at: int, share: float) -> float | None:
        return round(self.latency[at].quantile(share) * 1000, 3) if at in self.latency else None

    def bars(self) -> tuple[UploadBar, ...]:
        """The uploads that are drawn, in the order of their starts."""
        broken = [one for one in self.uploads if one.outcome != "ok"][:BARS]
        good = [one for one in self.uploads if one.outcome == "ok"]
        room = BARS - len(broken)
        if len(good) > room:
            good = [good[number * len(good) // room] for number in range(room)]
        return tuple(sorted((*broken, *good), key=lambda one: (one.started, one.finished, one.instance)))

    def marks(self) -> tuple[LossMark, ...]:
        return tuple(sorted(self.marked.values(), key=lambda one: (one.at, one.tier, one.reason)))


def _loss(row: LedgerRow) -> Loss:
    return Loss(
        at=row.finished,
        kind=row.kind,
        path=row.path.partition("?")[0],  # a query may hold a secret, and reports are passed on
        outcome=row.outcome,
        reason=row.reason or "unknown",
        tier=moving_tier(row),
        instance=row.instance or "",
        connection=row.connection,
    )
