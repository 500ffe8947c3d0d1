"""A report as one HTML page: no script that runs, nothing loaded. The same report always gives the same bytes.

The page carries its data as JSON, in a script element that no browser runs. Refuses to compute numbers.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from changeover.model.units import human_bytes, human_seconds
from changeover.report import pictures
from changeover.report.content import HEADLINES, Report
from changeover.report.svg import Axis

DATA_START = '<script type="application/json" id="report">'
DATA_END = "</script>"


def render(report: Report) -> str:
    """The whole page."""
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            headline=HEADLINES[report.conclusion],
            pictures={name: Markup(svg) for name, svg in _pictures(report).items()},  # noqa: S704 - svg.py escapes
            instances={
                one.id: Markup(pictures.instances(one.instances, _axis(report), report.made, _losses(report)))  # noqa: S704
                for one in report.rollouts
                if one.instances
            },
            serving={
                one.id: Markup(pictures.serving(one.serving, one.floor, _axis(report), one.ended or report.made))  # noqa: S704
                for one in report.rollouts
                if one.serving
            },
            drains=[
                (one.tier, line) for one in report.rollouts for line in one.instances if line.drained_in is not None
            ],
            reasons=_reasons(report),
            data=Markup(DATA_START + embedded(report) + DATA_END),  # noqa: S704 - `<` is escaped in it
        )
    )


def embedded(report: Report) -> str:
    """The data as JSON that cannot end its script element."""
    return report.model_dump_json().replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _axis(report: Report) -> Axis:
    zero = min(
        (one.started for one in report.rollouts), default=report.command.started if report.command else report.start
    )
    return Axis(report.start, report.end, zero)


def _losses(report: Report) -> list[float]:
    return [one.at for one in report.requests.marks] if report.requests else []


def _pictures(report: Report) -> dict[str, str]:
    found = dict.fromkeys(("rate", "latency", "uploads", "marks"), "") | {"defs": pictures.defs()}
    requests, axis, losses = report.requests, _axis(report), _losses(report)
    if requests is None:
        return found
    if any(one.ok or one.broken for one in requests.moments):
        found["rate"] = pictures.rate(requests.moments, requests.interval, axis, losses)
        found["latency"] = pictures.latency(requests.moments, requests.interval, axis, losses)
    if requests.uploads:
        found["uploads"] = pictures.uploads(requests.uploads, axis, pictures.old_names(report.rollouts), losses)
    if requests.marks:
        found["marks"] = pictures.marks(requests.marks, axis)
    return found


def _reasons(report: Report) -> list[tuple[str, str, int]]:
    """Broken requests in the window of the pictures: moving tier, reason, number; the most first."""
    counts: dict[tuple[str, str], int] = {}
    for one in report.requests.marks if report.requests else ():
        counts[one.tier, one.reason] = counts.get((one.tier, one.reason), 0) + one.count
    return sorted(
        ((pictures.moving(tier), why, number) for (tier, why), number in counts.items()), key=lambda one: -one[2]
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("changeover.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": lambda value: f"{value:,}",
        "size": human_bytes,
        "seconds": lambda value: human_seconds(round(value, 1)),
        "day": lambda at: f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC",
        "clock": lambda at: f"{datetime.fromtimestamp(at, UTC):%H:%M:%S.%f}"[:-3],
    }
    return environment
