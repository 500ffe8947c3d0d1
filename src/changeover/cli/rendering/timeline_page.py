"""The replacement of each tier as a page with a picture: one file, without scripts, that loads nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from html import escape

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.moments import NEVER, Moment
from changeover.audit.timeline import Replacement, Timeline
from changeover.cli.rendering.timeline import WORDS, cells, in_front, summary

_WIDTH, _LEFT, _ROW, _BAR = 1000, 20, 112, 22
"""Pixels: of the picture, of its margin, of a tier and of its bar."""
_TICKS = (
    (0, "0"),
    (10, "10 s"),
    (60, "1 min"),
    (300, "5 min"),
    (600, "10 min"),
    (1800, "30 min"),
    (3600, "1 h"),
    (36000, "10 h"),
)
_LABELS = 4
"""Rows of labels above a bar, so that those of signals close to each other do not cover each other."""
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2126; --dim: #5d6873; --line: #c6ccd2; --page: #fff; --ok: #2f8f5b;
  --cut: #c8372d; --unknown: #8d6bb8; --drain: #3b78b5; --need: #b7791f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --dim: #98a3ad; --line: #424a52; --page: #15191d;
  --ok: #58b883; --cut: #ef6a5f; --unknown: #b394dd; --drain: #6ea6dd; --need: #dda63f; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 1040px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .2rem; } .dim { color: var(--dim); }
svg { width: 100%; height: auto; } svg text { font: 12px system-ui, sans-serif; fill: var(--ink);
  paint-order: stroke; stroke: var(--page); stroke-width: 3px; }
svg .dim { fill: var(--dim); } svg .title { font-weight: 600; }
table { border-collapse: collapse; margin: .5rem 0; } th, td { padding: .2rem .8rem; text-align: right;
  border-bottom: 1px solid var(--line); } th { font-weight: 500; color: var(--dim); }
td.moment { text-align: left; } .ok { color: var(--ok); } .cut { color: var(--cut); font-weight: 600; }
.unknown { color: var(--unknown); }
.key { display: inline-block; width: .8rem; height: .8rem; margin: 0 .3rem 0 1rem; vertical-align: -.1rem; }
"""


def page(table: Timeline, asked: Assumptions) -> str:
    """`table` with one tier or more."""
    upload = words.upload(asked)
    keys = (
        ("drain", "drains at its balancer"),
        ("ok", "finishes its requests"),
        ("cut", "has cut them"),
        ("unknown", "unknown"),
    )
    legend = "".join(f'<span class="key" style="background: var(--{name})"></span>{text}' for name, text in keys)
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n<title>One replacement of each tier</title>\n'
        f"<style>{_STYLE}</style>\n<h1>One replacement of each tier</h1>\n"
        f"<p>Time runs from the moment at which an instance begins to leave. The broken line is the time that "
        f"{escape(upload)} occupies the tier.</p>\n<p>{legend}</p>\n"
        f"{_picture(table, asked)}\n{''.join(_section(tier, table) for tier in table.tiers)}</html>\n"
    )


def _need(tier: Replacement, asked: Assumptions) -> float:
    found = [one.seconds for one in tier.uploads if one.size == asked.upload and one.rate == asked.client_rate]
    return found[0] if found else asked.request_seconds


def _picture(table: Timeline, asked: Assumptions) -> str:
    moments = [one.at for tier in table.tiers for one in tier.moments if one.at != NEVER]
    longest = 1.3 * max([*moments, *(_need(tier, asked) for tier in table.tiers), 1.0])
    height = _ROW * len(table.tiers) + 40

    def x(at: float) -> float:  # by the square root: a grace of seconds and a drain of minutes are both visible
        return _LEFT + (_WIDTH - 2 * _LEFT) * math.sqrt(min(at, longest) / longest)

    parts = [
        f'<line x1="{x(at):.1f}" x2="{x(at):.1f}" y1="0" y2="{height - 22}" stroke="var(--line)"/>'
        f'<text class="dim" x="{x(at):.1f}" y="{height - 6}" text-anchor="middle">{label}</text>'
        for at, label in _TICKS
        if at <= longest and (at == 0 or at > longest / 400)
    ]
    for number, tier in enumerate(table.tiers):
        parts += _bar(tier, number * _ROW, x, _need(tier, asked), longest)
    title = "Timeline of one replacement of each tier"
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{title}">{"".join(parts)}</svg>'


def _bar(tier: Replacement, top: int, x: Callable[[float], float], need: float, longest: float) -> Iterator[str]:
    bar = top + _ROW - _BAR - 14
    yield f'<text class="title" x="{_LEFT}" y="{top + 16}">{escape(tier.name)}</text>'
    for start, end, kind in _spans(tier, longest):
        yield (
            f'<rect x="{x(start):.1f}" y="{bar}" width="{max(x(end) - x(start), 1):.1f}" height="{_BAR}" rx="3" '
            f'fill="var(--{kind})"/>'
        )
    at_need = f'<line x1="{x(need):.1f}" x2="{x(need):.1f}" y1="{bar - 5}" y2="{bar + _BAR + 5}"'
    yield f'{at_need} stroke="var(--page)" stroke-width="6"/>'
    yield f'{at_need} stroke="var(--need)" stroke-width="3" stroke-dasharray="5 3"/>'
    taken = [0.0] * _LABELS
    labels = []  # after every line, so that none crosses a text
    for one in (one for one in tier.moments if one.at != NEVER):
        label = f"{one.what} {words.span(one.at)}"
        width = 6.6 * len(label) + 10
        at = min(x(one.at), _WIDTH - width)
        row = next((number for number, end in enumerate(taken) if end <= at), _LABELS - 1)
        taken[row] = at + width
        y = bar - 6 - 13 * row
        yield f'<line x1="{x(one.at):.1f}" x2="{x(one.at):.1f}" y1="{y}" y2="{bar + _BAR}" stroke="var(--ink)"/>'
        labels.append(f'<text x="{at + 4:.1f}" y="{y}" {_marked(one)}>{escape(label)}</text>')
    yield from labels


def _marked(one: Moment) -> str:
    return 'style="fill: var(--cut)"' if one.cuts else ""


def _spans(tier: Replacement, longest: float) -> Iterator[tuple[float, float, str]]:
    """Start, end and kind of each part of a bar."""
    begins = next((one.at for one in tier.moments if one.what == "drain ends"), 0.0)
    cut = min(tier.cut, longest)
    if begins:
        yield 0.0, min(begins, cut), "drain"
    if cut > begins:
        yield begins, cut, "unknown" if tier.unknown else "ok"
    if cut < longest:
        yield cut, longest, "cut"


def _section(tier: Replacement, table: Timeline) -> str:
    rates = "".join(f"<th>{escape(words.bit_rate(rate))}</th>" for rate in table.rates)
    rows = "".join(f"<tr><th>{words.size(size)}</th>{_cells(tier, size)}</tr>" for size in table.sizes)
    moments = "".join(
        f'<tr><td>{words.span(one.at)}</td><td class="moment{" cut" if one.cuts else ""}">{escape(one.what)}</td>'
        f'<td class="moment dim">{escape(f"{one.text} ({one.place})")}</td></tr>'
        for one in tier.moments
        if one.at != NEVER
    )
    missing = "".join(f'<p class="unknown">unknown: {escape(one)}</p>' for one in tier.unknown)
    front = in_front(tier)
    buffered = "<p>A hop in front buffers uploads, so that the rate of a client changes nothing.</p>" * tier.buffered
    return (
        f'<h2>{escape(tier.name)}</h2>\n<p class="dim">{escape(f"{tier.software}, {tier.place}; {front}")}</p>\n'
        f"<table>{moments}</table>\n{missing}<p>{escape(summary(tier).capitalize())}.</p>\n{buffered}"
        f"<table><tr><th>upload</th>{rates}</tr>{rows}</table>\n"
    )


def _cells(tier: Replacement, size: int) -> str:
    kinds = {True: "ok", False: "cut", None: "unknown"}
    return "".join(
        f'<td class="{kinds[one.survives]}" title="{words.span(one.seconds)}">{WORDS[one.survives]}</td>'
        for one in cells(tier, size)
    )
