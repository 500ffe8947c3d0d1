"""Pieces of SVG that all pictures share: elements, the time axis, the frame. Pure; escapes all texts.

Colours are CSS variables of the page that holds the picture (`templates/report.html.j2`), so that one picture serves
light, dark and print.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

WIDTH = 1000
"""Of every picture, in its own units. The page scales it."""
LEFT, RIGHT = 128, 8
"""Margins: names stand in the left one."""
_TICKS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


def tag(name: str, inside: str = "", /, **attributes: object) -> str:
    """An element. `inside` is SVG already; attributes are escaped. `stroke_width` is written `stroke-width`."""
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_plain(value))}"' for key, value in attributes.items()
    )
    return f"<{name}{words}>{inside}</{name}>" if inside else f"<{name}{words}/>"


def text(words: str, **attributes: object) -> str:
    return tag("text", escape(words), **attributes)


def tip(words: str) -> str:
    """What a pointer on an element shows."""
    return tag("title", escape(words))


def _plain(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Axis:
    """Time from left to right. `zero`: the moment from which labels count. Seconds since the epoch."""

    start: float
    end: float
    zero: float

    def x(self, at: float) -> float:
        """Where a moment is, within the picture's edges."""
        share = (at - self.start) / max(self.end - self.start, 0.001)
        return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)

    def covers(self, start: float, end: float) -> bool:
        """Whether any of that time is in the picture."""
        return end >= self.start and start <= self.end

    def ticks(self) -> list[tuple[float, str]]:
        """Moments with a label, in seconds or minutes from `zero`."""
        step = next((one for one in _TICKS if (self.end - self.start) / one <= 12), _TICKS[-1])
        first = math.ceil((self.start - self.zero) / step)
        last = math.floor((self.end - self.zero) / step)
        if last - first > 24:
            step *= math.ceil((last - first) / 12)
            first, last = math.ceil((self.start - self.zero) / step), math.floor((self.end - self.zero) / step)
        return [(self.zero + number * step, seconds_label(number * step)) for number in range(first, last + 1)]


def seconds_label(seconds: float) -> str:
    """`0`, `2.5 s`, `90 s`, `5 min`, `2 h`."""
    if not seconds:
        return "0"
    if abs(seconds) >= 7200:
        return f"{seconds / 3600:g} h"
    return f"{seconds / 60:g} min" if abs(seconds) >= 300 else f"{seconds:g} s"


def frame(label: str, axis: Axis, height: float, inside: Iterable[str], losses: Iterable[float] = ()) -> str:
    """A whole picture: lines of the time axis behind, `inside`, and moments of loss as lines in front."""
    grid = [
        tag("line", class_="grid", x1=axis.x(at), x2=axis.x(at), y1=0, y2=height)
        + text(words, class_="dim", x=min(axis.x(at), WIDTH - 24), y=height + 15, text_anchor="middle")
        for at, words in axis.ticks()
    ]
    lost = [
        tag("line", class_="lossline", x1=x, x2=x, y1=0, y2=height)
        for x in sorted({round(axis.x(at), 1) for at in losses if axis.covers(at, at)})
    ]
    return tag(
        "svg",
        "".join((*grid, *inside, *lost)),
        viewBox=f"0 0 {WIDTH} {math.ceil(height) + 22}",
        role="img",
        aria_label=label,
    )


def name_in_margin(words: str, y: float, class_: str = "") -> str:
    """A name at the left, cut to what fits; a pointer shows all of it."""
    short = words if len(words) <= 19 else f"{words[:18]}…"
    return tag("text", escape(short) + tip(words), x=LEFT - 8, y=y, text_anchor="end", class_=class_ or "name")
