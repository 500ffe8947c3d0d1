"""What the report takes from the journal: each rollout with its instances, phases and what broke. Refuses to judge.

The log of a rollout has every phase of the instances that moved in it, also after `down` has removed the instances from
the journal. How many instances served is known only while the journal still has all of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from types import MappingProxyType

from changeover.engine.journal.reading import JournalReader
from changeover.engine.journal.records import DEATH, INTERRUPTION, LONG_LIVED, LogRow, RolloutRow
from changeover.engine.release.outcome import rolled_before
from changeover.model.revision import is_restart, template_of
from changeover.report.content import InstanceLine, RolloutPart, Serving, Span
from changeover.rollout.members.member import KILLED, Member
from changeover.rollout.members.phases import Cause, Phase

_STEP = re.compile(r"([a-z]+) -> ([a-z]+): ")
_CREATED = re.compile(r"create instance: template (\S+?)(?:,|$)")
_ACCOUNTS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        Cause.DEADLINE_CUT: frozenset({INTERRUPTION}),
        Cause.ENDED_BY_OPERATOR: frozenset({INTERRUPTION}),
        Cause.LONG_LIVED_CUT: frozenset({INTERRUPTION, LONG_LIVED}),
        Cause.EXITED: frozenset({INTERRUPTION, DEATH}),
    }
)
"""How an instance may have broken requests -> kinds of log lines that say what it broke."""
_STOPPED = frozenset({Phase.DRAINED, Phase.STOPPING})
INSTANCES = 300
"""Instances of one rollout that a report shows at most."""


def rollout_part(journal: JournalReader, row: RolloutRow, floor: int | None) -> RolloutPart:
    """One rollout. `floor`: the instances that had to serve at any time; None where no chain file says so.

    A first start has no floor: none served before it.
    """
    past = rolled_before(journal, row)
    log = journal.log(row.id)
    own = _by_instance(log)
    members = {one.name: one for one in journal.members_since(row.tier, 0.0) if _took_part(one, row)}
    died = {member.name for member in past.died}
    created = {line.instance: template_of(found[1]) for line in log if (found := _CREATED.match(line.text))}
    spans = {name: _spans(own.get(name, ()), members.get(name), row) for name in _names(log, members)}
    lines = [
        InstanceLine(
            name=name,
            template=template_of(member.template) if member else created.get(name, template_of(row.from_template)),
            is_new=name in created,
            spans=found,
            drained_in=_drained_in(found),
            cut=member.cut if member and past.lasted_at(member.times.get(Phase.DRAINED, member.died)) else "",
            killed=member is not None and member.killed and past.lasted_at(member.times.get(KILLED)),
            died=name in died,
        )
        for name, found in spans.items()
        if found
        for member in (members.get(name),)
    ]
    lines.sort(key=lambda line: line.is_new)
    return RolloutPart(
        id=row.id,
        tier=row.tier,
        from_template=template_of(row.from_template),
        to_template=template_of(row.to_template),
        restart=is_restart(row.from_template, row.to_template),
        started=row.started,
        ended=row.ended,
        outcome=row.outcome or "unfinished",
        reason=row.reason or "",
        requested_by=journal.requests().get(row.id, ""),
        instances=tuple(lines[:INSTANCES]),
        instances_in_all=len(lines),
        serving=serving_of(lines, row) if spans.keys() <= members.keys() else (),
        floor=floor if row.from_template else None,
        broke=past.broke,
        forgotten=any(_may_have_broken(own[name]) for name in moved_in(log) - members.keys()),
        long_lived=past.long_lived,
        deaths=past.deaths,
        disagreements=past.disagreements,
    )


def _took_part(member: Member, row: RolloutRow) -> bool:
    """Whether it existed at some time of the rollout."""
    began, end = min(member.times.values(), default=inf), inf if row.ended is None else row.ended
    return began <= end and member.times.get(Phase.GONE, inf) >= row.started


def _by_instance(log: Iterable[LogRow]) -> Mapping[str, Sequence[LogRow]]:
    """The lines of each instance, sorted out once: a rollout of a thousand has fifteen thousand lines."""
    found: dict[str, list[LogRow]] = defaultdict(list)
    for line in log:
        found[line.instance].append(line)
    return found


def moved_in(log: Iterable[LogRow]) -> set[str]:
    """The instances that changed their phase, or were created, in a rollout."""
    return {line.instance for line in log if line.kind == "phase" or _CREATED.match(line.text)}


def _may_have_broken(mine: Sequence[LogRow]) -> bool:
    """Whether an instance that the journal no longer has may have broken requests of which the log has no line.

    `mine`: its lines. An older version of the program wrote what a drain cut, and what was killed, with the instance
    alone.
    """
    kinds = {line.kind for line in mine}
    if any(line.kind == "command" and line.text == "stop: kill" for line in mine) and not kinds & {
        INTERRUPTION,
        LONG_LIVED,
    }:
        return True
    steps = [step for line in mine if line.kind == "phase" and (step := _STEP.match(line.text))]
    causes = {step.string[step.end() :] for step in steps if step[1] not in _STOPPED}
    return any(not kinds & _ACCOUNTS[cause] for cause in causes if cause in _ACCOUNTS)


def _names(log: Iterable[LogRow], members: Mapping[str, Member]) -> list[str]:
    moved = moved_in(log)
    return list(dict.fromkeys((*members, *(line.instance for line in log if line.instance in moved))))


def _spans(mine: Sequence[LogRow], member: Member | None, row: RolloutRow) -> tuple[Span, ...]:
    """The phases of one instance while the rollout lasted, from its lines. The first and the last one may be cut at its
    ends."""
    steps = [(line.at, step[1], step[2]) for line in mine if line.kind == "phase" and (step := _STEP.match(line.text))]
    began = next((line.at for line in mine if _CREATED.match(line.text)), row.started)
    if not steps:
        phase = _phase_during(member, row) if member is not None else Phase.CREATING.value
        return () if phase == Phase.GONE else (Span(phase=phase, start=began, end=row.ended),)
    found: list[Span] = []
    at = began
    for when, before, _ in steps:
        found.append(Span(phase=before, start=at, end=when))
        at = when
    last = steps[-1][2]
    if last != Phase.GONE and (row.ended is None or at < row.ended):
        found.append(Span(phase=last, start=at, end=row.ended))
    return tuple(found)


def _phase_during(member: Member, row: RolloutRow) -> str:
    """The phase of an instance that did not move while the rollout lasted."""
    entered = [(at, Phase(name)) for name, at in member.times.items() if name in set(Phase) and at <= row.started]
    return max(entered, key=lambda one: one[0])[1].value if entered else member.phase.value


def _drained_in(spans: tuple[Span, ...]) -> float | None:
    """Seconds from the last time when it began to leave to the end of its drain."""
    left = max((one.start for one in spans if one.phase == Phase.LEAVING), default=None)
    ends = [one.end for one in spans if one.phase == Phase.DRAINING and one.end is not None]
    drained = any(one.phase in (Phase.DRAINED, Phase.STOPPING) for one in spans)
    return None if left is None or not ends or not drained else round(max(ends) - left, 3)


def serving_of(lines: Iterable[InstanceLine], row: RolloutRow) -> tuple[Serving, ...]:
    """How many instances served, from the rollout's start to its end. Changes of one instant count as one."""
    changes: dict[float, int] = {row.started: 0}
    for one in (span for line in lines for span in line.spans if span.phase == Phase.ADMITTED):
        changes[one.start] = changes.get(one.start, 0) + 1
        if one.end is not None and one.end != row.ended:
            changes[one.end] = changes.get(one.end, 0) - 1
    count, found = 0, []
    for at in sorted(changes):
        count += changes[at]
        found.append(Serving(at=at, count=count))
    return tuple(found)
