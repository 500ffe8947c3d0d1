"""The spans of one release: the release, each tier, each instance that moved, and each of its phases. PURE.

All of them come from the journal, so a release that a crash interrupted has the same spans as any other, and the same
identifiers whichever process sends them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from changeover.engine.journal.records import REQUEST, LogRow, Release, RolloutRow
from changeover.model.revision import template_of
from changeover.rollout.members.phases import Phase

_STEP = re.compile(r"([a-z]+) -> ([a-z]+): (.*)", re.DOTALL)
_CREATED = re.compile(r"create instance: template (\S+?)(?:,|$)")
_DETAILS = frozenset({"event", "command", "phase", REQUEST})
"""Kinds of lines that are no events of a span: spans and attributes show what matters of them."""

Attributes = Mapping[str, str | int | bool]


@dataclass(frozen=True)
class SpanEvent:
    """What happened at one moment of a span, such as a hook or an interruption."""

    at: float
    name: str
    message: str


@dataclass(frozen=True)
class SpanRecord:
    """One span. `path` names it in its trace, and its parent by all but the last word. Times are seconds since the
    epoch. `error`: why it failed; empty if it did not."""

    path: tuple[str, ...]
    name: str
    start: float
    end: float
    attributes: Attributes
    error: str = ""
    events: tuple[SpanEvent, ...] = ()


@dataclass(frozen=True)
class RolloutLog:
    """A rollout that has ended, with its log, and what broke requests in it, in sentences."""

    row: RolloutRow
    log: Sequence[LogRow]
    broke: Sequence[str] = ()


def trace_id(release: Release) -> int:
    """128 bits that depend on the release alone."""
    return int.from_bytes(sha256(_name(release)).digest()[:16])


def span_id(release: Release, path: Sequence[str]) -> int:
    """64 bits that depend on the release and the path alone."""
    return int.from_bytes(sha256(_name(release) + "/".join(path).encode()).digest()[:8])


def _name(release: Release) -> bytes:
    return f"{release.id} {release.started!r} {sorted(release.to_templates.items())} ".encode()


def spans_of(release: Release, rollouts: Sequence[RolloutLog]) -> list[SpanRecord]:
    """Every span of a release that has ended; a parent stands before its children."""
    assert release.ended is not None
    goals = ", ".join(f"{tier} to {template_of(goal)}" for tier, goal in release.to_templates.items())
    attributes = {"changeover.release": release.id, "changeover.outcome": release.outcome or "", "changeover.to": goals}
    if release.strategy is not None:
        attributes["changeover.strategy"] = release.strategy
    bad = release.outcome != "completed"
    error = (release.undo_reason or f"the release {release.outcome}") if bad else ""
    found = [SpanRecord(("release",), f"roll {goals}", release.started, release.ended, attributes, error)]
    for rollout in rollouts:
        found += _of_rollout(rollout)
    return found


def _of_rollout(rollout: RolloutLog) -> Iterator[SpanRecord]:
    row, log = rollout.row, rollout.log
    end = row.started if row.ended is None else row.ended
    end = max(end, *(line.at for line in log), row.started)
    path = ("release", str(row.id))
    broke = " ".join(rollout.broke)
    bad = row.outcome != "completed"
    yield SpanRecord(
        path,
        f"tier {row.tier}",
        row.started,
        end,
        {
            "changeover.rollout": row.id,
            "changeover.tier": row.tier,
            "changeover.from": template_of(row.from_template),
            "changeover.to": template_of(row.to_template),
            "changeover.outcome": row.outcome or "",
            "changeover.reason": row.reason or "",
            "changeover.requested_by": next((line.text for line in log if line.kind == REQUEST), ""),
            "changeover.interrupted": bool(broke),
        },
        broke or (row.reason or f"the rollout {row.outcome}" if bad else ""),
        tuple(
            SpanEvent(line.at, line.kind, f"{line.instance}: {line.text}" if line.instance else line.text)
            for line in log
            if line.kind not in _DETAILS
        ),
    )
    for name in dict.fromkeys(line.instance for line in log if line.instance):
        yield from _of_instance(path, row, name, [line for line in log if line.instance == name], end)


def _of_instance(
    path: tuple[str, ...], row: RolloutRow, name: str, log: Sequence[LogRow], end: float
) -> Iterator[SpanRecord]:
    created = next(((line.at, found[1]) for line in log if (found := _CREATED.match(line.text))), None)
    steps = [(line.at, step) for line in log if line.kind == "phase" and (step := _STEP.fullmatch(line.text))]
    if created is None and not steps:
        return
    about = {"changeover.tier": row.tier, "changeover.instance": name}
    template = template_of(row.from_template if created is None else created[1])
    phases = list(_phases((*path, name), about, created, steps, end))
    began = steps[0][0] if created is None else created[0]
    failed = next((step[3] for _, step in steps if step[2] == Phase.FAILED), "")
    yield SpanRecord(
        (*path, name),
        name,
        began,
        phases[-1].end if phases else began,
        {**about, "changeover.template": template, "changeover.new": created is not None},
        failed,
    )
    yield from phases


def _phases(
    path: tuple[str, ...],
    about: Attributes,
    created: tuple[float, str] | None,
    steps: Sequence[tuple[float, re.Match[str]]],
    end: float,
) -> Iterator[SpanRecord]:
    """Each phase until the step out of it. The last one that the rollout saw ends with the rollout."""
    starts = [(at, step[2]) for at, step in steps]
    if created is not None:
        starts.insert(0, (created[0], Phase.CREATING.value))
    ends = [(at, step[3]) for at, step in steps][len(steps) + 1 - len(starts) :]
    for number, (start, phase) in enumerate(starts):
        if phase == Phase.GONE:
            continue
        until, cause = ends[number] if number < len(ends) else (end, "")
        error = phase if phase == Phase.FAILED else ""
        attributes = {**about, "changeover.phase": phase, "changeover.ended_by": cause}
        yield SpanRecord((*path, f"{number} {phase}"), phase, start, until, attributes, error)
