"""The pictures of a report as SVG, each a pure function of data and the time axis. Refuses to compute any number.

Old and new instances differ in their pattern, phases in their height, losses in their shape: colour only repeats it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from changeover.model.units import human_bytes
from changeover.report.content import InstanceLine, LossMark, Moment, RolloutPart, Serving, UploadBar
from changeover.report.svg import LEFT, RIGHT, WIDTH, Axis, frame, name_in_margin, tag, text, tip

_ROW = 24
_PHASES: Mapping[str, tuple[float, str]] = MappingProxyType(
    {
        "creating": (0.15, "starting"),
        "warming": (0.3, "starting"),
        "ready": (0.45, "starting"),
        "admitted": (0.85, "serving"),
        "leaving": (0.5, "draining"),
        "draining": (0.5, "draining"),
        "drained": (0.15, "ending"),
        "stopping": (0.15, "ending"),
        "failed": (0.85, "failed"),
    }
)
"""Phase -> its height as a share of the row, and its class in the style sheet."""


def defs() -> str:
    """The pattern of what is old. Once in a page, before all pictures."""
    line = tag("path", d="M0 6 L6 0", class_="hatch")
    pattern = tag("pattern", line, id="old", width=6, height=6, patternUnits="userSpaceOnUse")
    return tag("svg", tag("defs", pattern), width=0, height=0, aria_hidden="true", class_="defs")


def rate(moments: Sequence[Moment], interval: float, axis: Axis, losses: Iterable[float] = ()) -> str:
    """GETs per second, in bars; broken ones on top of the others."""
    height, top = 90.0, max((one.ok + one.broken for one in moments), default=0) or 1
    parts = list(_scale(height, top / interval, "GET/s"))
    for one in moments:
        x, width = axis.x(one.at), max(axis.x(one.at + interval) - axis.x(one.at) - 0.6, 0.6)
        good, bad = one.ok / top * height, one.broken / top * height
        if one.ok:
            parts.append(tag("rect", class_="ok", x=x, y=height - good, width=width, height=good))
        if one.broken:
            parts.append(
                tag(
                    "rect",
                    tip(f"{one.broken} GETs broke"),
                    class_="lost",
                    x=x,
                    y=height - good - max(bad, 2),
                    width=width,
                    height=max(bad, 2.0),
                )
            )
    return frame("GETs per second", axis, height, parts, losses)


def latency(moments: Sequence[Moment], interval: float, axis: Axis, losses: Iterable[float] = ()) -> str:
    """Median and 99th percentile of the GETs' latency."""
    height, top = 90.0, max((one.p99_ms or 0.0 for one in moments), default=0.0) or 1.0
    parts = list(_scale(height, top, "ms"))
    for key, class_ in (("p99_ms", "p99"), ("p50_ms", "p50")):
        points = [(one.at + interval / 2, getattr(one, key)) for one in moments]
        parts += [
            tag("polyline", class_=class_, points=" ".join(f"{x:.1f},{y:.1f}" for x, y in run))
            for run in _runs(points, axis, height, top)
        ]
    return frame("GET latency: median and 99th percentile", axis, height, parts, losses)


def _runs(
    points: Iterable[tuple[float, float | None]], axis: Axis, height: float, top: float
) -> Iterator[list[tuple[float, float]]]:
    """Lines without those parts of the time that have no GET."""
    run: list[tuple[float, float]] = []
    for at, value in points:
        if value is None:
            if run:
                yield run
            run = []
        else:
            run.append((axis.x(at), height - value / top * height))
    if run:
        yield run if len(run) > 1 else [*run, (run[0][0] + 1, run[0][1])]


def _scale(height: float, top: float, unit: str) -> Iterator[str]:
    yield tag("line", class_="base", x1=LEFT, x2=WIDTH - RIGHT, y1=height, y2=height)
    yield text(
        f"{top:,.0f} {unit}" if top >= 10 else f"{top:.1f} {unit}", class_="dim", x=LEFT - 8, y=10, text_anchor="end"
    )
    yield text("0", class_="dim", x=LEFT - 8, y=height, text_anchor="end")


def marks(found: Sequence[LossMark], axis: Axis) -> str:
    """Moments of loss, a row for each tier that was moving."""
    tiers = list(dict.fromkeys(one.tier for one in found))
    parts = []
    for row, tier in enumerate(tiers):
        y = row * _ROW + _ROW / 2
        parts.append(name_in_margin(moving(tier), y + 4))
        for one in (mark for mark in found if mark.tier == tier):
            x, size = axis.x(one.at), 4 + min(one.count, 20) / 5
            left, right, above, below = (f"{value:.1f}" for value in (x - size, x + size, y - size, y + size))
            cross = f"M{left} {above} L{right} {below} M{left} {below} L{right} {above}"
            parts.append(tag("path", tip(f"{one.count} × {one.reason}"), d=cross, class_="cross"))
    return frame("Moments of loss, by the tier that was moving", axis, max(len(tiers), 1) * _ROW, parts)


def moving(tier: str) -> str:
    """A row of losses by name."""
    return {"none": "no tier moved", "unknown": "tier not known"}.get(tier, tier)


def uploads(bars: Sequence[UploadBar], axis: Axis, old: frozenset[str], losses: Iterable[float] = ()) -> str:
    """Uploads as bars, in rows of the instance that answered. `old`: names of instances and versions that are old."""
    parts, hatch, y = [], [], 2.0
    for instance in sorted({one.instance for one in bars}, key=lambda name: _first(bars, name)):
        mine = [one for one in bars if one.instance == instance and axis.covers(one.started, one.finished)]
        lanes: list[float] = []
        for one in mine:
            lane = next((number for number, end in enumerate(lanes) if end <= one.started), len(lanes))
            lanes[lane : lane + 1] = [one.finished]
            x = axis.x(one.started)
            box = {"x": x, "y": y + lane * 9, "width": max(axis.x(one.finished) - x, 2.0), "height": 7.0}
            parts.append(_bar(one, box))
            if one.instance in old or one.version in old:
                hatch.append(box)
        if mine:
            parts.append(name_in_margin(instance, y + min(len(lanes) * 9, 18) / 2 + 3))
            y += max(len(lanes) * 9, 14) + 8
            parts.append(tag("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y - 4, y2=y - 4))
    return frame("Uploads by the instance that answered", axis, max(y, _ROW), [*parts, hatched(hatch)], losses)


def _first(bars: Sequence[UploadBar], instance: str) -> tuple[float, str]:
    return min(one.finished for one in bars if one.instance == instance), instance


def _bar(one: UploadBar, box: Mapping[str, float]) -> str:
    seconds = one.finished - one.started
    words = f"{one.outcome}: {human_bytes(one.size)} in {seconds:.1f} s, version {one.version}"
    shape = tag("rect", tip(words), class_="upload" if one.outcome == "ok" else "lost", rx=1, **box)
    end = text("✕", class_="crossed", x=box["x"] + box["width"] - 4, y=box["y"] + 8) if one.outcome != "ok" else ""
    return shape + end


def instances(lines: Sequence[InstanceLine], axis: Axis, now: float, losses: Iterable[float] = ()) -> str:
    """Instances by phase: the higher the bar, the more the instance serves. Old ones are hatched."""
    parts, hatch = [], []
    for row, one in enumerate(lines):
        y = row * _ROW
        parts.append(name_in_margin(one.name, y + 16))
        for span in one.spans:
            end = now if span.end is None else span.end
            if not axis.covers(span.start, end):
                continue
            share, class_ = _PHASES.get(span.phase, (0.85, "ending"))
            x, high = axis.x(span.start), (_ROW - 4) * share
            box = {
                "x": x,
                "y": y + (_ROW - high) / 2,
                "width": max(axis.x(end) - x, 1.5),
                "height": high,
            }
            words = f"{one.name} ({one.template}): {span.phase} for {end - span.start:.1f} s"
            parts.append(tag("rect", tip(words), class_=class_, **box))
            if not one.is_new and class_ in ("serving", "draining"):
                hatch.append(box)
        if one.cut or one.killed or one.died:
            last = max((now if span.end is None else span.end for span in one.spans), default=now)
            parts.append(text("✕", class_="crossed", x=axis.x(last) + 2, y=y + 17))
    return frame("Instances by phase", axis, max(len(lines), 1) * _ROW, [*parts, hatched(hatch)], losses)


def hatched(boxes: Iterable[Mapping[str, float]]) -> str:
    """The pattern of what is old over all these boxes, as one shape: printers embed the pattern once for each."""
    corners = [
        f"M{one['x']:.1f} {one['y']:.1f}h{one['width']:.1f}v{one['height']:.1f}h-{one['width']:.1f}z" for one in boxes
    ]
    return tag("path", class_="hatched", d="".join(corners)) if corners else ""


def serving(steps: Sequence[Serving], floor: int | None, axis: Axis, end: float) -> str:
    """How many instances served, as steps, and the floor as a broken line."""
    height, top = 60.0, max(*(one.count for one in steps), floor or 0, 1)

    def y(count: int) -> float:
        return height - count / (top + 0.3) * height

    line = []
    for one, until in zip(steps, [*(step.at for step in steps[1:]), end], strict=True):
        line += [f"{axis.x(one.at):.1f},{y(one.count):.1f}", f"{axis.x(until):.1f},{y(one.count):.1f}"]
    labels = sorted({top, floor or 0, min(one.count for one in steps)})
    parts = [
        tag("line", class_="base", x1=LEFT, x2=WIDTH - RIGHT, y1=height, y2=height),
        tag("polyline", class_="count", points=" ".join(line)),
        *(text(str(count), class_="dim", x=LEFT - 8, y=y(count) + 4, text_anchor="end") for count in labels),
    ]
    if floor is not None:
        ends: dict[str, object] = {"x1": axis.x(steps[0].at), "x2": axis.x(end), "y1": y(floor), "y2": y(floor)}
        parts.append(tag("line", tip(f"floor: {floor}"), class_="floor", **ends))
    return frame("Instances in service, and the floor", axis, height, parts)


def old_names(rollouts: Iterable[RolloutPart]) -> frozenset[str]:
    """Names of instances and versions that rollouts replaced."""
    found: set[str] = set()
    for one in rollouts:
        found |= {line.name for line in one.instances if not line.is_new}
    return frozenset(found)
