"""One rollout as the page shows it: phases of each instance over time, what its guards sampled, and what broke
requests, with its moment.

Pure. The instances are those of the report, and the rest is what `show --json` prints, so that all three agree.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from changeover.engine.figures import GuardSample
from changeover.report.content import RolloutPart
from changeover.web.page.losses import Losses
from changeover.web.sources import Data

MARKS = 60
"""Intervals of the axis of time in which broken requests are one mark."""

OVERDUE = 2.5
"""Intervals without a sample from which a line is broken: one look may be late."""
POINTS = 300
"""Samples of a condition that a chart has room for."""


@dataclass(frozen=True)
class Span:
    """A phase of an instance: seconds since the rollout began. The last one of a rollout in progress ends now."""

    phase: str
    start: float
    end: float


@dataclass(frozen=True)
class Row:
    """The phases of one instance. `side`: `new` if the rollout created it. `drained_in`: seconds."""

    name: str
    side: str
    spans: Sequence[Span]
    drained_in: float | None = None


@dataclass(frozen=True)
class Mark:
    """Something that broke requests, or may have, at a time in seconds since the rollout began.

    `number`: requests of a probe that broke about then, of one kind and for one reason; None: the controller's words.
    """

    at: float
    text: str
    number: int | None = None
    kind: str = ""
    outcome: str = ""


@dataclass(frozen=True)
class Broken:
    """Requests of probes that broke in one way. `first`, `last`: seconds since the rollout began."""

    kind: str
    outcome: str
    reason: str
    number: int
    first: float
    last: float


@dataclass(frozen=True)
class Point:
    """A sample, in seconds since the rollout began. `value` None: it is missing."""

    at: float
    value: float | None
    baseline: float | None


@dataclass(frozen=True)
class GuardSeries:
    """What a guard sampled of one condition. `limit`: what it allows at most; None where it compares with a baseline.

    `points`: of many samples the highest and the missing ones. `interval`: seconds between two of them. `missing`: why
    the last sample is missing. `silent`: seconds since the last one, where the next is overdue; None: it is not.
    """

    condition: str
    limit: float | None
    interval: float
    points: Sequence[Point]
    missing: str
    silent: float | None


@dataclass(frozen=True)
class RolloutView:
    """One rollout, in progress or past. `seconds`: its duration so far.

    `lowest`: the fewest instances that served; `floor`: those that had to. None: it is not known.
    `broken`: the most first, as far as ledgers of the chain have them. `more`: broken ones beside them, of any time.
    `gaps`: why there may be others. `reading`: ledgers are not read to their end yet.
    """

    id: int
    tier: str
    source: str
    goal: str
    outcome: str | None
    reason: str
    started: float
    seconds: float
    requested_by: str | None
    rows: Sequence[Row]
    rows_in_all: int
    marks: Sequence[Mark]
    interruptions: Sequence[str]
    deaths: int
    lowest: int | None
    floor: int | None
    broken: Sequence[Broken]
    more: int
    reading: bool
    gaps: Sequence[str]
    guards: Sequence[GuardSeries]


def rollout_view(
    shown: Data,
    part: RolloutPart,
    losses: Losses,
    samples: Iterable[GuardSample],
    conditions: Mapping[str, float | None],
    now: float,
) -> RolloutView:
    """`shown`: as `show --json` prints it. `part`: the report's. `now`: by the controllers' clock.

    `conditions`: those that guard it now, with what each allows at most; they are shown before their first sample, too.
    """
    row = shown["rollout"]
    start, end = row["started"], now if row["ended"] is None else row["ended"]
    seconds = max(0.0, end - start)
    rows = [
        Row(
            one.name,
            "new" if one.is_new else "old",
            [
                Span(span.phase, span.start - start, (end if span.end is None else span.end) - start)
                for span in one.spans
            ],
            one.drained_in,
        )
        for one in part.instances
    ]
    reported = [Mark(line["at"] - start, line["text"]) for line in shown["log"] if line["kind"] == "interruption"]
    return RolloutView(
        row["id"],
        row["tier"],
        row["from"],
        row["to"],
        row["outcome"],
        row["reason"] or "",
        start,
        seconds,
        row["requested_by"],
        sorted(rows, key=lambda one: (one.side == "new", one.spans[0].start)),
        part.instances_in_all,
        sorted([*reported, *_lost(losses, start, seconds)], key=lambda mark: mark.at),
        row["interruptions"],
        row["deaths"],
        part.lowest,
        part.floor,
        _broken(losses, start),
        losses.more,
        losses.behind,
        losses.unread,
        guard_series(samples, conditions, start, end),
    )


def guard_series(
    samples: Iterable[GuardSample], conditions: Mapping[str, float | None], start: float, end: float
) -> Sequence[GuardSeries]:
    """What each condition has seen from `start` to `end`."""
    taken: dict[str, list[GuardSample]] = {condition: [] for condition in conditions}
    for one in samples:
        taken.setdefault(one.condition, []).append(one)
    found = []
    for condition, mine in taken.items():
        if not mine:
            found.append(GuardSeries(condition, conditions[condition], 0.0, (), "", None))
            continue
        last = mine[-1]
        points = _thinned([Point(one.at - start, one.value, one.baseline) for one in mine], end - start)
        interval = max(last.interval, (end - start) / POINTS)
        silent = end - last.at if end - last.at > OVERDUE * last.interval else None
        found.append(GuardSeries(condition, last.limit, interval, points, last.missing, silent))
    return found


def _thinned(points: Sequence[Point], seconds: float) -> Sequence[Point]:
    """At most two points in each part of the time: the highest one, and one that is missing."""
    if len(points) <= POINTS:
        return points
    kept: dict[tuple[int, bool], Point] = {}
    for one in points:
        key = int(one.at / max(seconds, 1.0) * POINTS), one.value is None
        if (known := kept.get(key)) is None or (one.value or 0.0) > (known.value or 0.0):
            kept[key] = one
    return sorted(kept.values(), key=lambda one: one.at)


def _broken(losses: Losses, start: float) -> Sequence[Broken]:
    times: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for one in losses.found:
        times[one.kind, one.outcome, one.reason].append(one.at - start)
    found = [Broken(*key, len(at), min(at), max(at)) for key, at in times.items()]
    return sorted(found, key=lambda one: -one.number)


def _lost(losses: Losses, start: float, seconds: float) -> Sequence[Mark]:
    """The broken requests, as many as are of one moment in one mark."""
    found: dict[tuple[int, str, str, str], Mark] = {}
    for one in losses.found:
        key = int((one.at - start) / max(seconds, 1.0) * MARKS), one.kind, one.outcome, one.reason
        before = found.get(key)
        at, number = (one.at - start, 1) if before is None else (before.at, (before.number or 0) + 1)
        found[key] = Mark(at, one.reason, number, one.kind, one.outcome)
    return list(found.values())
