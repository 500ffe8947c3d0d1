"""The page's data, as a pure function of what was read: chain, rollout, what it waits for, actions, history.

Refuses to word anything: a sentence is a key of `words` and its facts, so that both languages say the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from changeover.engine.journal.lease import KEEPER
from changeover.rollout.tier.actions import Action, Answer, TierStatus
from changeover.web.page.snapshot import Course, Snapshot
from changeover.web.page.terms import NEW_CONTROLLER
from changeover.web.sources import Data

_MOVING = {TierStatus.ROLLING, TierStatus.HOLDING, TierStatus.PAUSED, TierStatus.UNDOING}
MANY = 24
"""Instances of a tier from which its blocks are small, without their figures."""


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
class Group:
    """The instances of one template in a tier, counted by themselves. None: no instance of it has that count.

    `unknown`: instances whose requests, or connections where it counts no requests, are not in the sum.
    """

    side: str
    template: str
    serving: int
    requests: int | None
    connections: int | None
    unknown: int
    uploads: int
    blocks: Sequence[Block]


@dataclass(frozen=True)
class TierView:
    """One tier, in the order of the chain. `share`: the canary's, in percent, as it is set; None at no canary step.

    `flow`: requests in flight, or connections where it counts no requests; None: unknown. `more`: there may be others,
    at instances without a count.
    `groups`: one for each template, the old one first.
    """

    name: str
    kind: str
    template: str | None
    status: str | None
    serving: int
    size: int
    share: float | None
    flow: int | None
    more: bool
    groups: Sequence[Group]
    small: bool


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
        [_tier(one, status["instances"], history, seen.restarted) for one in status.get("tiers", ())],
        tier,
        course,
        waits(seen, history) if up else (),
        _actions(tier, course, _controlled(status)) if up and tier and course else (),
        history,
        seen.templates if up else {},
        seen.probed,
        seen.fault,
    )


def _controlled(status: Data) -> bool:
    """Whether a controller works on the chain that continues a rollout: a keeper only repairs."""
    active = status["active_command"]
    return active is not None and active["command"] != KEEPER


def tier_in_question(history: Sequence[Data]) -> str | None:
    """As `pause`, `promote`, `abort`, `undo` and `retry` without a TIER have it. `history`: the last rollout first."""
    for row in history:
        if row["ended"] is None:
            return str(row["tier"])
    return str(history[0]["tier"]) if history else None


def _tier(tier: Data, instances: Sequence[Data], history: Sequence[Data], restarted: Collection[str]) -> TierView:
    row = next((row for row in history if row["tier"] == tier["name"] and row["ended"] is None), None)
    own = [one for one in instances if one["tier"] == tier["name"]]
    share = tier["canary_share"]
    blocks = [_block(one, row, restarted) for one in own]
    keys = sorted({(one.side == "new", one.side, one.template) for one in blocks})
    groups = [_group([one for one in blocks if (one.side, one.template) == key[1:]]) for key in keys]
    requests = [_requests(one) for one in blocks]
    connections = [one.connections for one in blocks]
    in_part = None in connections and any(one is not None for one in requests)
    flow = requests if None not in requests or in_part else connections
    return TierView(
        tier["name"],
        tier["kind"],
        tier["template"],
        tier["status"],
        tier["serving"],
        tier["size"],
        share["target_percent"] if share else None,
        _sum(flow),
        None in flow,
        groups,
        len(own) > MANY,
    )


def _group(blocks: Sequence[Block]) -> Group:
    requests, connections = [_requests(one) for one in blocks], [one.connections for one in blocks]
    counted = connections if all(one is None for one in requests) else requests
    return Group(
        blocks[0].side,
        blocks[0].template,
        sum(one.serving for one in blocks),
        _sum(requests),
        _sum(connections),
        counted.count(None),
        sum(len(one.uploads) for one in blocks),
        blocks,
    )


def _requests(one: Block) -> int | None:
    """One that stops counts no requests any more, and has none without a connection."""
    return 0 if one.connections == 0 else one.requests


def _sum(values: Iterable[int | None]) -> int | None:
    """Of what is known; None where nothing is. Of no instance it is 0."""
    found = list(values)
    known = [one for one in found if one is not None]
    return sum(known) if known or not found else None


def _block(one: Data, row: Data | None, restarted: Collection[str]) -> Block:
    flight = one["in_flight"] or {}
    side = "only"
    if row is not None:
        fresh = one["template"] == row["to"] and (not row["restart"] or one["name"] in restarted)
        side = "new" if fresh else "old"
    return Block(
        one["name"],
        one["template"],
        one["phase"],
        side,
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
    if not _controlled(seen.status):
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
    if not found and course is not None and course.watched:
        found.append(Sentence("wait_watch", {"tier": tier, "left": course.watched}))
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


def _actions(tier: str, course: Course, controlled: bool) -> Sequence[ActionView]:
    """`undo` of a rollout in progress is `abort`, and is left out. Without a controller, `resume` brings one."""
    found = []
    for action, answer in course.answers.items():
        if action is Action.ROLL or (action is Action.UNDO and answer == course.answers[Action.ABORT]):
            continue
        if action is Action.RESUME and not controlled and course.status in _MOVING and not answer.done:
            answer = Answer(True, NEW_CONTROLLER)
        # `resume` acts on whatever is unfinished, and names no tier.
        command = f"changeover {action}" + f" {tier}" * (action is not Action.RESUME)
        found.append(ActionView(action.value, command, answer.done, answer.text))
    return sorted(found, key=lambda one: not one.possible)
