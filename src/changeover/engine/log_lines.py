"""The lines that one decision leaves in the journal's log, in words. Refuses to decide which lines matter: all do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from math import inf

from changeover.engine.journal.records import INTERRUPTION, LogLine
from changeover.rollout import commands as do
from changeover.rollout import events as on
from changeover.rollout.members.member import KILLED, Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.decision import Decision


def log_lines(event: on.Event, decision: Decision) -> list[LogLine]:
    """The event, the instances' steps, what they broke, and the commands that followed from it.

    What they broke stands in the log, too, since `down` deletes the instances.
    """
    lines = []
    if not isinstance(event, on.Tick):
        lines.append(LogLine("event", in_words(event), getattr(event, "name", "")))
    lines += [LogLine("phase", f"{m.before} -> {m.after}: {m.cause}", m.member.name) for m in decision.moved]
    changed = (*(move.member for move in decision.moved), *decision.touched)
    for member in {member.name: member for member in changed}.values():
        lines += [LogLine(INTERRUPTION, text, member.name) for text in _broken(member, event.at)]
    for command in decision.commands:
        if isinstance(command, do.Note):
            lines.append(LogLine(command.kind, command.text, command.name))
        elif not isinstance(command, do.WakeAt):
            lines.append(LogLine("command", in_words(command), getattr(command, "name", "")))
    return lines


def _broken(member: Member, at: float) -> Iterator[str]:
    """What the instance broke at that time."""
    if member.cut and member.times.get(Phase.DRAINED) == at:
        yield cut_in_words(member)
    if member.times.get(KILLED) == at:
        yield killed_in_words(member)


def cut_in_words(member: Member) -> str:
    early = member.deadline is not None and member.times.get(Phase.DRAINED, inf) < member.deadline
    return f"{member.name}: cut {'by `drain --now`' if early else 'at the drain deadline'}: {member.cut}."


def killed_in_words(member: Member) -> str:
    return f"{member.name}: killed, still running at the end of its stop grace. Work after its responses may be lost."


def in_words(thing: on.Event | do.Command) -> str:
    """`router confirmed: not admitted`, `create instance: template v2`."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(thing).__name__).lower()
    facts = []
    for field in fields(thing):
        value, label = getattr(thing, field.name), field.name.replace("_", " ")
        if field.name in ("at", "name") or value is None or value == "":
            continue
        if isinstance(value, bool):
            facts.append(label if value else f"not {label}")
        else:
            facts.append(str(value) if label in name else f"{label} {value}")
    return f"{name}: {', '.join(facts)}" if facts else name
