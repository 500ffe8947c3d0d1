"""A report in short, as GitHub-flavoured Markdown for the log of a CI job. Refuses pictures; escapes every text."""

from __future__ import annotations

import re

from changeover.model.units import human_seconds
from changeover.report.content import HEADLINES, Report

_MARKS = {"clean": "✅", "broken": "❌", "unproved": "⚠️"}


def summary(report: Report, page: str = "") -> str:
    """Headline, counts, rollouts and reasons. `page`: path of the report, where one was written."""
    lines = [
        f"### {_MARKS[report.conclusion]} {HEADLINES[report.conclusion]}: {_plain(report.subject)}",
        "",
        f"**{_plain(report.summary)}**",
        "",
        *(f"- {_plain(text)}" for text in (*report.broke, *report.gaps, *report.aside)),
    ]
    if report.rollouts:
        lines += [
            "",
            "| rollout | tier | templates | outcome | duration | fewest in service | floor |",
            "| ---: | --- | --- | --- | ---: | ---: | ---: |",
        ]
    for one in report.rollouts:
        took = "–" if one.ended is None else human_seconds(round(one.ended - one.started, 1))
        outcome = f"{one.outcome}: {one.reason}" if one.reason else one.outcome
        known = ["not known" if number is None else str(number) for number in (one.lowest, one.floor)]
        cells = (str(one.id), one.tier, f"{one.from_template or 'none'} → {one.to_template}", outcome, took, *known)
        lines.append(f"| {' | '.join(map(_plain, cells))} |")
    if report.requests is not None:
        lines += [
            "",
            "| kind | sent | ok | lost | corrupted | duplicated |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
        ]
        for kind, count in report.requests.verdict.counts.items():
            numbers = (count.sent, count.ok, count.lost, count.corrupted, count.duplicated)
            if count.sent:
                lines.append(f"| {kind} | {' | '.join(f'{number:,}' for number in numbers)} |")
        reasons = report.requests.verdict.failures_by_reason
        if reasons:
            lines += ["", "| broken requests | reason |", "| ---: | --- |"]
            lines += [f"| {number:,} | {_plain(reason)} |" for reason, number in reasons.items()]
        for ledger in report.requests.ledgers:
            lines += ["", f"Ledger {_plain(ledger.name)}, SHA-256 `{ledger.sha256}`."]
    if page:
        lines += ["", f"Report: {_plain(page)}"]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    return re.sub(r"([\\`*_{}\[\]<>()#|~&!])", r"\\\1", " ".join(text.split()))
