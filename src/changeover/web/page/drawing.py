"""Geometry of the page's pictures, in units of their viewBox: the timeline of a rollout, the chart of a guard.

Pure: a template writes the SVG. Refuses to tell anything by colour alone: each kind of phase has its own shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from changeover.web.page.rollouts import OVERDUE, GuardSeries, Mark, Point, RolloutView

WIDTH = 1000
LEFT, RIGHT, TOP, BOTTOM = 150, 10, 18, 26
"""Margins: of the names, and of the numbers of the axis."""
_TALL, _SHORT, _ROWS_HEIGHT = 22, 4, 880
"""Heights of a row: most, least, and of all rows together, as long as none is below the least."""
CROSS = 14
"""Width of a mark."""
NAMED = 11
"""Height from which a row has the room for its name."""
KINDS = {
    "creating": "starts",
    "warming": "starts",
    "ready": "starts",
    "admitted": "serves",
    "leaving": "leaves",
    "draining": "leaves",
    "drained": "stops",
    "stopping": "stops",
    "failed": "fails",
}
"""Phase -> how its bar is drawn."""
_TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)


@dataclass(frozen=True)
class Bar:
    x: float
    width: float
    phase: str
    kind: str
    seconds: float


@dataclass(frozen=True)
class Line:
    """The bars of one instance. `fresh`: the rollout created it."""

    name: str
    fresh: bool
    y: float
    bars: Sequence[Bar]


@dataclass(frozen=True)
class Timeline:
    """`ticks`: x and seconds. `marks`: x and what happened about there. `named`: a row has the room for its name."""

    height: float
    row: float
    named: bool
    lines: Sequence[Line]
    ticks: Sequence[tuple[float, int]]
    marks: Sequence[tuple[float, Sequence[Mark]]]


def timeline(rollout: RolloutView) -> Timeline:
    seconds = max(rollout.seconds, 0.001)
    row = max(_SHORT, min(_TALL, _ROWS_HEIGHT / max(1, len(rollout.rows))))

    def x(at: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * min(max(at / seconds, 0.0), 1.0), 1)

    lines = []
    for number, one in enumerate(rollout.rows):
        bars = [
            Bar(
                x(s.start),
                max(1.0, round(x(s.end) - x(s.start), 1)),
                s.phase,
                KINDS.get(s.phase, "stops"),
                s.end - s.start,
            )
            for s in one.spans
        ]
        lines.append(Line(one.name, one.side == "new", TOP + number * row, bars))
    step = next((tick for tick in _TICKS if seconds / tick <= 8), _TICKS[-1])
    ticks = [(x(at), at) for at in range(0, int(seconds) + 1, step)][:60]
    height = TOP + len(rollout.rows) * row + BOTTOM
    return Timeline(height, row, row >= NAMED, lines, ticks, _apart([(x(mark.at), mark) for mark in rollout.marks]))


def _apart(marks: Sequence[tuple[float, Mark]]) -> Sequence[tuple[float, Sequence[Mark]]]:
    """Marks whose crosses would overlap are one cross, at the first of them."""
    found: list[tuple[float, list[Mark]]] = []
    for x, mark in marks:
        if found and x - found[-1][0] < CROSS:
            found[-1][1].append(mark)
        else:
            found.append((x, [mark]))
    return found


@dataclass(frozen=True)
class Chart:
    """`lines`, `baselines`: points as SVG has them, a line for each time without a gap. `limit`: y of the threshold.

    `gaps`: x and width of each sample that is missing. `last`: the last sample; None: it is missing, or there is none.
    """

    lines: Sequence[str]
    baselines: Sequence[str]
    gaps: Sequence[tuple[float, float]]
    limit: float | None
    last: Point | None


CHART_WIDTH, CHART_HEIGHT = 320, 72


def chart(guard: GuardSeries, seconds: float) -> Chart:
    """The samples of a rollout that has lasted for `seconds`, on the axis of its whole time."""
    values = [value for one in guard.points for value in (one.value, one.baseline) if value is not None]
    top = max([*values, guard.limit or 0.0]) * 1.15 or 1.0
    whole = max(seconds, 0.001)

    def x(at: float) -> float:
        return round(CHART_WIDTH * min(max(at / whole, 0.0), 1.0), 1)

    def y(value: float) -> float:
        return round(CHART_HEIGHT * (1 - max(value, 0.0) / top), 1)

    def drawn(values: Sequence[tuple[float, float | None]]) -> Sequence[str]:
        lines: list[list[str]] = []
        before: float | None = None
        for at, value in values:
            if value is None:
                before = None
                continue
            if before is None or at - before > OVERDUE * guard.interval:
                lines.append([f"{x(at - guard.interval)},{y(value)}"])  # a sample is of the interval before it
            lines[-1].append(f"{x(at)},{y(value)}")
            before = at
        return [" ".join(line) for line in lines]

    last = guard.points[-1] if guard.points else None
    return Chart(
        drawn([(one.at, one.value) for one in guard.points]),
        drawn([(one.at, one.baseline) for one in guard.points]),
        [
            (left, round(max(1.0, x(one.at) - left), 1))
            for one in guard.points
            if one.value is None
            for left in (x(one.at - guard.interval),)
        ],
        None if guard.limit is None else y(guard.limit),
        None if last is None or last.value is None else last,
    )
