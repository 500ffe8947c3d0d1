"""The page's data, as a pure function of what was read: chain, rollout, what it waits for, actions, history.

Refuses to word anything: a sentence is a key of `words` and its facts, so that both languages say the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from changeover.rollout.tier.actions import ANSWERS, Action, TierStatus
from changeover.web.page.snapshot import Course, GuardSamples, Snapshot
from changeover.web.sources import Data

MANY = 24
"""Instances of a tier from which its blocks are small, without their figures."""
KEEPER_GONE = "keeper_gone"


@dataclass(frozen=True)
class Sentence:
    """A key of `words`, and the facts that its text names."""

    key: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Upload:
    """Bytes; `expected` None: the client announced no length. `left`: seconds at its rate so far; None: unknown."""

    received: int
    expected: int | None
    left: float | None


@dataclass(frozen=True)
class Block:
    """One instance. `side`: `new` while a rollout goes to its template, `old` if it does not, else `only`."""

    name: str
    template: str
    phase: str
    side: str
    serving: bool
    reason: str
    requests: int | None
    connections: int | None
    uploads: Sequence[Upload]
    drain_left: float | None


@dataclass(frozen=True)
class TierView:
    """One tier, in the order of the chain. `share`: the canary's, in percent, as it is set; None at no canary step."""

    name: str
    kind: str
    template: str | None
    status: str | None
    serving: int
    size: int
    share: float | None
    blocks: Sequence[Block]
    small: bool


@dataclass(frozen=True)
class Span:
    """A phase of an instance: seconds since the rollout began. The last one of a rollout in progress ends now."""

    phase: str
    start: float
    end: float


@dataclass(frozen=True)
class Row:
    """The phases of one instance. `side`: `new` if the rollout created it."""

    name: str
    side: str
    spans: Sequence[Span]


@dataclass(frozen=True)
class Mark:
    """Something that broke requests, or may have, at a time in seconds since the rollout began."""

    at: float
    text: str


@dataclass(frozen=True)
class RolloutView:
    """One rollout, in progress or past. `seconds`: its duration so far."""

    id: int
    tier: str
    source: str
    goal: str
    outcome: str | None
    reason: str
    seconds: float
    requested_by: str | None
    rows: Sequence[Row]
    marks: Sequence[Mark]
    interruptions: Sequence[str]


@dataclass(frozen=True)
class ActionView:
    """An action of the command line. `text`: what it will do; if it is not `possible`, why not."""

    name: str
    command: str
    possible: bool
    text: str


@dataclass(frozen=True)
class ChainView:
    """All that the page shows of one chain. `fault`: it could not be read, and the rest is empty."""

    number: int
    name: str
    state: str
    findings: Sequence[str]
    edge_url: str | None
    active: str | None
    tiers: Sequence[TierView]
    tier: str | None
    """The tier that actions are about: the one that is being rolled, otherwise the last one that was."""
    course: Course | None
    waits: Sequence[Sentence]
    actions: Sequence[ActionView]
    history: Sequence[Data]
    templates: Mapping[str, Sequence[str]]
    guards: Sequence[GuardSamples]
    probed: Mapping[str, float]
    fault: str = ""


def chain_view(number: int, name: str, seen: Snapshot) -> ChainView:
    """`name`: what the chain is called where it has no name of its own yet."""
    status, history = seen.status, list(reversed(seen.rollouts))
    tier = tier_in_question(history)
    course = seen.courses.get(tier) if tier else None
    up = bool(status.get("up"))
    active = status.get("active_command")
    return ChainView(
        number,
        status.get("chain") or name,
        "unreadable" if seen.fault else status["state"],
        status.get("findings", ()),
        status.get("edge_url"),
        active["command"] if active else None,
        [_tier(one, status["instances"], history) for one in status.get("tiers", ())],
        tier,
        course,
        waits(seen, history) if up else (),
        _actions(tier, course) if up and tier and course else (),
        history,
        seen.templates if up else {},
        seen.guards,
        seen.probed,
        seen.fault,
    )


def tier_in_question(history: Sequence[Data]) -> str | None:
    """As `pause`, `promote`, `abort`, `undo` and `retry` without a TIER have it. `history`: the last rollout first."""
    for row in history:
        if row["ended"] is None:
            return str(row["tier"])
    return str(history[0]["tier"]) if history else None


def _tier(tier: Data, instances: Sequence[Data], history: Sequence[Data]) -> TierView:
    row = next((row for row in history if row["tier"] == tier["name"] and row["ended"] is None), None)
    own = [one for one in instances if one["tier"] == tier["name"]]
    share = tier["canary_share"]
    return TierView(
        tier["name"],
        tier["kind"],
        tier["template"],
        tier["status"],
        tier["serving"],
        tier["size"],
        share["target_percent"] if share else None,
        [_block(one, row) for one in own],
        len(own) > MANY,
    )


def _block(one: Data, row: Data | None) -> Block:
    flight = one["in_flight"] or {}
    return Block(
        one["name"],
        one["template"],
        one["phase"],
        "only" if row is None or row["from"] == row["to"] else "new" if one["template"] == row["to"] else "old",
        one["serving"],
        one["reason"],
        flight.get("requests"),
        flight.get("connections"),
        [_upload(upload) for upload in flight.get("uploads", ())],
        one["drain_seconds_left"],
    )


def _upload(one: Data) -> Upload:
    received, expected, age = one["received"], one["expected"], one["age_seconds"]
    known = expected is not None and received > 0 and age > 0
    return Upload(received, expected, max(0.0, (expected - received) * age / received) if known else None)


def waits(seen: Snapshot, history: Sequence[Data]) -> Sequence[Sentence]:
    """What the rollout in progress waits for, and why; the most important first. Empty: no rollout is in progress."""
    row = next((row for row in history if row["ended"] is None), None)
    if row is None:
        return ()
    tier, course = row["tier"], seen.courses.get(row["tier"])
    if not seen.status["active_command"]:
        return (Sentence("wait_controller", {"tier": tier}),)
    found = []
    if course is not None and course.status is TierStatus.UNDOING:
        found.append(Sentence("wait_undoing", {"tier": tier, "to": row["from"], "reason": course.reason}))
    elif course is not None and course.status is TierStatus.PAUSED:
        key = "wait_hooks" if course.awaits_hooks else "wait_paused"
        found.append(Sentence(key, {"tier": tier, "reason": course.reason}))
    elif course is not None and course.status is TierStatus.HOLDING:
        found.append(Sentence("wait_promote", {"tier": tier, "to": row["to"]}))
    mine = [one for one in seen.status["instances"] if one["tier"] == tier]
    for phase in ("draining", "leaving", "creating", "warming", "ready", "stopping"):
        names = [one for one in mine if one["phase"] == phase]
        if names:
            facts: dict[str, Any] = {"number": len(names), "name": names[0]["name"]}
            if phase == "draining":
                facts |= _draining(names)
            key = "wait_draining_open" if phase == "draining" and facts["left"] is None else f"wait_{phase}"
            found.append(Sentence(key, facts))
    if course is not None and course.left is not None:
        found.append(Sentence("wait_time", {"left": course.left, "tier": tier}))
    return found or (Sentence("wait_next", {"tier": tier}),)


def _draining(instances: Sequence[Data]) -> dict[str, Any]:
    flights = [one["in_flight"] for one in instances]
    left = [one["drain_seconds_left"] for one in instances if one["drain_seconds_left"] is not None]
    known = all(flight is not None for flight in flights)
    return {
        "requests": sum(flight["requests"] or 0 for flight in flights) if known else None,
        "uploads": sum(len(flight["uploads"]) for flight in flights) if known else None,
        "left": max(left, default=None),
    }


def _actions(tier: str, course: Course) -> Sequence[ActionView]:
    return [
        # `resume` acts on whatever is unfinished, and names no tier.
        ActionView(
            action.value,
            f"changeover {action}" + f" {tier}" * (action is not Action.RESUME),
            ANSWERS[course.status, action].done,
            ANSWERS[course.status, action].text,
        )
        for action in Action
        if action is not Action.ROLL
    ]


def rollout_view(shown: Data, now: float) -> RolloutView:
    """`shown`: as `show --json` prints it. `now`: by the controllers' clock."""
    row, log = shown["rollout"], shown["log"]
    start, end = row["started"], now if row["ended"] is None else row["ended"]
    return RolloutView(
        row["id"],
        row["tier"],
        row["from"],
        row["to"],
        row["outcome"],
        row["reason"] or "",
        max(0.0, end - start),
        row["requested_by"],
        _rows(log, start, end),
        [Mark(line["at"] - start, line["text"]) for line in log if line["kind"] == "interruption"],
        row["interruptions"],
    )


def _rows(log: Sequence[Data], start: float, end: float) -> Sequence[Row]:
    created: dict[str, float] = {}
    changes: dict[str, list[tuple[float, str, str]]] = {}
    for line in log:
        name, text = line["instance"], line["text"]
        if line["kind"] == "command" and text.startswith("create instance"):
            created[name] = line["at"]
            changes.setdefault(name, [])
        elif line["kind"] == "phase":
            before, _, after = text.partition(":")[0].partition(" -> ")
            changes.setdefault(name, []).append((line["at"], before, after))
    rows = []
    for name, moves in changes.items():
        since, phase, spans = created.get(name, start), "creating", []
        for at, before, after in moves:
            spans.append(Span(before, since - start, at - start))
            since, phase = at, after
        if phase != "gone":
            spans.append(Span(phase, since - start, end - start))
        rows.append(Row(name, "new" if name in created else "old", spans))
    return sorted(rows, key=lambda row: (row.side == "new", row.spans[0].start if row.spans else 0.0))
