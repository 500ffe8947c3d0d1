"""Render a verdict for people (Rich) and for programs (JSON). Refuses to compute anything: `verdict` does that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from changeover.model.units import human_bytes, human_seconds
from changeover.probe.records.row import LedgerRow
from changeover.probe.verdict import KINDS, Verdict


def to_json(verdict: Verdict) -> str:
    return json.dumps(verdict.to_dict(), indent=2, default=str)


def render(verdict: Verdict) -> RenderableType:
    """The summary, the counts and, after failures, the first failed rows."""
    parts: list[RenderableType] = [
        Text(verdict.summary, style="bold green" if verdict.clean else "bold red"),
        _counts(verdict),
        _facts(verdict),
    ]
    if verdict.versions:
        parts.append(_versions(verdict))
    if verdict.first_failures:
        parts.append(_failures(verdict))
    return Group(*parts)


def _counts(verdict: Verdict) -> Table:
    table = Table("requests", box=None, pad_edge=False)
    for heading in ("sent", "ok", "lost", "corrupted", "duplicated"):
        table.add_column(heading, justify="right")
    for kind in KINDS:
        count = verdict.counts[kind]
        numbers = (count.sent, count.ok, count.lost, count.corrupted, count.duplicated)
        table.add_row(kind, *(f"{number:,}" for number in numbers))
    return table


def _facts(verdict: Verdict) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    if verdict.get_latency_ms:
        at = verdict.get_latency_ms
        table.add_row("GET latency", f"p50 {at.p50:.1f}  p90 {at.p90:.1f}  p99 {at.p99:.1f}  max {at.max:.1f} ms")
    table.add_row("duration", human_seconds(round(verdict.duration_seconds)))
    if verdict.counts["upload"].sent:
        table.add_row("uploaded", human_bytes(verdict.bytes_uploaded))
        table.add_row(
            "read back",
            f"{verdict.uploads_read_back:,}, {verdict.uploads_read_back_by_writer:,} of these by the writer",
        )
    for name, counts in (
        ("GETs by version", verdict.gets_by_version),
        ("uploads by version", verdict.uploads_by_version),
        ("uploads by instance", verdict.uploads_by_instance),
        ("failures by reason", verdict.failures_by_reason),
        ("failures by moving tier", verdict.failures_by_moving_tier),
    ):
        if counts:
            table.add_row(name, _list(counts))
    if verdict.uploads_lost_but_stored:
        table.add_row("lost but stored", f"{verdict.uploads_lost_but_stored:,}")
    return table


def _versions(verdict: Verdict) -> Table:
    table = Table("version", box=None, pad_edge=False)
    for heading in ("answers", "broken", "first answer (UTC)", "last answer"):
        table.add_column(heading, justify="right")
    for name, seen in verdict.versions.items():
        table.add_row(Text(name), f"{seen.answers:,}", f"{seen.broken:,}", utc(seen.first), utc(seen.last))
    return table


def utc(moment: float) -> str:
    """The time of day with milliseconds."""
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M:%S.%f")[:-3]


def _failures(verdict: Verdict) -> Table:
    shown, of = len(verdict.first_failures), verdict.lost + verdict.duplicated
    table = Table("time (UTC)", "request", "outcome", "reason", "connection", "tiers", title_justify="left")
    table.title = f"the first {shown:,} of {of:,} failed requests"
    for row in verdict.first_failures:
        table.add_row(
            utc(row.finished),
            Text(f"{row.kind} {row.path}"),
            row.outcome,
            row.reason or "",
            row.connection,
            Text(_tiers(row)),
        )
    return table


def _tiers(row: LedgerRow) -> str:
    return ", ".join(f"{key}: {value}" for key, value in (row.tier_state or {}).items())


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.items())
