"""The lines that one decision leaves in the journal's log, in words. Refuses to decide which lines matter: all do."""

from __future__ import annotations

import re
from dataclasses import fields

from changeover.engine.journal.records import LogLine
from changeover.rollout import commands as do
from changeover.rollout import events as on
from changeover.rollout.tier.decision import Decision


def log_lines(event: on.Event, decision: Decision) -> list[LogLine]:
    """The event, the instances' steps, and the commands that followed from it."""
    lines = []
    if not isinstance(event, on.Tick):
        lines.append(LogLine("event", in_words(event), getattr(event, "name", "")))
    lines += [LogLine("phase", f"{m.before} -> {m.after}: {m.cause}", m.member.name) for m in decision.moved]
    for command in decision.commands:
        if isinstance(command, do.Note):
            lines.append(LogLine(command.kind, command.text, command.name))
        elif not isinstance(command, do.WakeAt):
            lines.append(LogLine("command", in_words(command), getattr(command, "name", "")))
    return lines


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
