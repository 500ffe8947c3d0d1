"""The durable record of a chain, in SQLite: what it is, where every instance stands, and every decision with its time.

A step is written, in one transaction, before it is performed. Whoever writes holds the lease, and every write checks
that it still does: a controller that was paused and taken over finds its next write refused, not half done.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from changeover.kit import process
from changeover.model.chain import Strategy
from changeover.model.errors import fail
from changeover.rollout.members.fleet import Fleet, Member, Moved
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.actions import Action
from changeover.rollout.tier.state import Course, Status

_SCHEMA = """
create table if not exists facts (name text primary key, value text not null);
create table if not exists lease (id integer primary key check (id = 1), epoch integer not null, pid integer,
    born integer, purpose text not null, since real not null);
create table if not exists tiers (tier text primary key, course text not null);
create table if not exists members (name text primary key, tier text not null, phase text not null, serial integer
    not null, member text not null);
create index if not exists members_here on members (tier, phase);
create table if not exists templates (tier text, name text, hash text not null, primary key (tier, name));
create table if not exists rollouts (id integer primary key, tier text not null, came_from text not null, goal text
    not null, started real not null, ended real, outcome text, reason text, told integer not null default 0);
create table if not exists releases (id integer primary key, goals text not null, came_from text not null, strategy
    text, started real not null, undoing text, ended real, outcome text, reason text);
create table if not exists asks (id integer primary key, tier text not null, action text not null, who text not null,
    at real not null, answer text);
create table if not exists log (seq integer primary key, at real not null, rollout integer, tier text, instance text,
    kind text not null, text text not null);
"""


Outcome = Literal["completed", "undone", "failed"]


@dataclass(frozen=True)
class Holder:
    """Who may write: process, what for, since when. `epoch` grows with every change of hands."""

    epoch: int
    pid: int
    born: int
    purpose: str
    since: float

    def is_alive(self) -> bool:
        return process.is_alive(self.pid, self.born)


@dataclass(frozen=True)
class RolloutRow:
    """One rollout of one tier. `ended`, `outcome` are None while it is unfinished.

    `told`: whether the hooks after it have been run.
    """

    id: int
    tier: str
    came_from: str
    goal: str
    started: float
    ended: float | None
    outcome: Outcome | None
    reason: str | None
    told: bool


@dataclass(frozen=True)
class Release:
    """A rollout of several tiers as one. `undoing`: why it goes back; None while it goes forward.

    `strategy`: the one that was asked for, None for what the chain file says of each tier.
    """

    id: int
    goals: Mapping[str, str]
    came_from: Mapping[str, str]
    strategy: Strategy | None
    started: float
    undoing: str | None


@dataclass(frozen=True)
class Ask:
    """Something asked of a tier that nobody has answered yet."""

    id: int
    tier: str
    action: Action
    who: str


@dataclass(frozen=True)
class LogRow:
    """One line of the journal's log."""

    at: float
    instance: str
    kind: str
    text: str


class LeaseHeld(Exception):
    """Somebody else may write just now."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(f"{holder.purpose} (process {holder.pid})")
        self.holder = holder


class Journal:
    """One chain's journal. Reading needs nothing; writing needs the lease."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._epoch: int | None = None
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(file, timeout=10, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = full")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise fail(
                f"the journal cannot be used: {error}",
                where=str(file),
                state="Nothing was changed; what runs goes on running.",
                next="Give back the file or its permissions, or name another folder with --state.",
            ) from error

    def close(self) -> None:
        self._db.close()

    @property
    def folder(self) -> Path:
        """The chain's state folder."""
        return self._file.parent

    # -- the lease -----------------------------------------------------------------------------------------------

    def take_lease(self, purpose: str, at: float) -> None:
        """Become the writer. Raises LeaseHeld while a live process is; a dead one is taken over."""
        pid = os.getpid()
        with self._transaction():
            holder = self.holder()
            if holder is not None and holder.is_alive() and self._epoch != holder.epoch:
                raise LeaseHeld(holder)
            last = self._one("select epoch from lease")
            epoch = (last["epoch"] if last else 0) + 1
            self._db.execute(
                "insert or replace into lease values (1, ?, ?, ?, ?, ?)",
                (epoch, pid, process.born(pid), purpose, at),
            )
        self._epoch = epoch

    def release_lease(self) -> None:
        if self._epoch is not None:
            with self._transaction():
                self._db.execute("update lease set pid = null, born = null where epoch = ?", (self._epoch,))
            self._epoch = None

    def holder(self) -> Holder | None:
        """Who holds the lease, alive or not; None when nobody does."""
        row = self._one("select * from lease where pid is not null")
        return None if row is None else Holder(row["epoch"], row["pid"], row["born"], row["purpose"], row["since"])

    # -- writing -------------------------------------------------------------------------------------------------

    def write_step(
        self,
        at: float,
        tier: str,
        course: Course,
        moved: Iterable[Moved],
        added: Iterable[Member],
        lines: Iterable[Line],
        ended: tuple[str, str] | None = None,
    ) -> None:
        """One step of one tier, whole: where it goes, who moved, what is about to be done.

        `ended`: outcome and reason, when the step ends the tier's rollout.
        """
        with self._transaction(fenced=True):
            rollout = self._unfinished_id(tier)
            self._db.execute("insert or replace into tiers values (?, ?)", (tier, json.dumps(asdict(course))))
            changed = {move.member.name: move.member for move in moved} | {member.name: member for member in added}
            for member in changed.values():
                self._put_member(tier, member)
            self._db.executemany(
                "insert into log (at, rollout, tier, instance, kind, text) values (?, ?, ?, ?, ?, ?)",
                [(at, rollout, tier, line.instance, line.kind, line.text) for line in lines],
            )
            if ended is not None:
                self._db.execute(
                    "update rollouts set ended = ?, outcome = ?, reason = ? where id = ?", (at, *ended, rollout)
                )

    def write_member(self, tier: str, member: Member) -> None:
        """One member, outside of a step."""
        with self._transaction(fenced=True):
            self._put_member(tier, member)

    def begin_rollout(self, at: float, tier: str, came_from: str, goal: str) -> RolloutRow:
        """Open a rollout, or find the unfinished one of that tier to that goal."""
        with self._transaction(fenced=True):
            for row in self.rollouts(unfinished=True):
                if row.tier == tier and row.goal == goal:
                    return row
            self._db.execute(
                "insert into rollouts (tier, came_from, goal, started) values (?, ?, ?, ?)",
                (tier, came_from, goal, at),
            )
            return self.rollouts()[-1]

    def end_rollout(self, number: int, at: float, outcome: str, reason: str) -> None:
        with self._transaction(fenced=True):
            self._db.execute(
                "update rollouts set ended = ?, outcome = ?, reason = ? where id = ?",
                (at, outcome, reason, number),
            )

    def write_line(self, at: float, rollout: int, tier: str, line: Line) -> None:
        """Something that happened beside the steps of a rollout."""
        with self._transaction(fenced=True):
            self._db.execute(
                "insert into log (at, rollout, tier, instance, kind, text) values (?, ?, ?, ?, ?, ?)",
                (at, rollout, tier, line.instance, line.kind, line.text),
            )

    def told_rollout(self, number: int) -> None:
        """The hooks after that rollout have been run."""
        with self._transaction(fenced=True):
            self._db.execute("update rollouts set told = 1 where id = ?", (number,))

    def set_facts(self, facts: Mapping[str, str]) -> None:
        """What the chain is: its file, its keeper."""
        with self._transaction(fenced=True):
            self._db.executemany("insert or replace into facts values (?, ?)", list(facts.items()))

    def set_template(self, tier: str, name: str, content: str) -> None:
        """Remember what a template said when it was last used."""
        with self._transaction(fenced=True):
            self._db.execute("insert or replace into templates values (?, ?, ?)", (tier, name, content))

    def clear_tiers(self, at: float) -> None:
        """The chain is down: no tier goes anywhere, no instance is left. The log and the rollouts stay."""
        with self._transaction(fenced=True):
            self._db.execute("delete from facts where name = 'up'")
            self._db.execute("delete from tiers")
            self._db.execute("delete from members")
            self._db.execute(
                "update rollouts set ended = ?, outcome = 'failed', reason = 'the chain was taken down' "
                "where ended is null",
                (at,),
            )
            self._db.execute("update releases set ended = ?, outcome = 'failed' where ended is null", (at,))

    def begin_release(
        self, at: float, goals: Mapping[str, str], came_from: Mapping[str, str], strategy: Strategy | None = None
    ) -> int:
        """Open a release of several tiers, or find the unfinished one with the same goals."""
        with self._transaction(fenced=True):
            open_one = self.unfinished_release()
            if open_one is not None:
                return open_one.id
            done = self._db.execute(
                "insert into releases (goals, came_from, strategy, started) values (?, ?, ?, ?)",
                (json.dumps(dict(goals)), json.dumps(dict(came_from)), strategy, at),
            )
            return int(done.lastrowid or 0)

    def undo_release(self, number: int, why: str) -> None:
        """From here on the release goes back, whoever carries it on."""
        with self._transaction(fenced=True):
            self._db.execute("update releases set undoing = ? where id = ?", (why, number))

    def end_release(self, number: int, at: float, outcome: str, reason: str) -> None:
        with self._transaction(fenced=True):
            self._db.execute(
                "update releases set ended = ?, outcome = ?, reason = ? where id = ?", (at, outcome, reason, number)
            )

    def ask(self, tier: str, action: str, who: str, at: float) -> int:
        """Leave a question for whoever holds the lease; needs none itself. Returns its number."""
        with self._transaction():
            done = self._db.execute(
                "insert into asks (tier, action, who, at) values (?, ?, ?, ?)", (tier, action, who, at)
            )
            return int(done.lastrowid or 0)

    def answer(self, number: int, text: str) -> None:
        """What came of a question."""
        with self._transaction(fenced=True):
            self._db.execute("update asks set answer = ? where id = ?", (text, number))

    # -- reading -------------------------------------------------------------------------------------------------

    def fact(self, name: str) -> str | None:
        row = self._one("select value from facts where name = ?", name)
        return None if row is None else str(row["value"])

    def template_hash(self, tier: str, name: str) -> str | None:
        row = self._one("select hash from templates where tier = ? and name = ?", tier, name)
        return None if row is None else str(row["hash"])

    def course(self, tier: str) -> Course | None:
        """Where a tier is going; None when it was never started."""
        row = self._one("select course from tiers where tier = ?", tier)
        if row is None:
            return None
        told = json.loads(row["course"])
        return Course(**{**told, "status": Status(told["status"])})

    def fleet(self, tier: str) -> Fleet:
        """The members of a tier that are not gone."""
        rows = self._rows("select member from members where tier = ? and phase != 'gone' order by serial", tier)
        return Fleet(_member(row["member"]) for row in rows)

    def members_since(self, tier: str, since: float) -> list[Member]:
        """Every member that did something at or after `since`, gone ones included; oldest first."""
        rows = self._rows("select member from members where tier = ? order by serial", tier)
        return [m for row in rows if max((m := _member(row["member"])).times.values(), default=0.0) >= since]

    def rollouts(self, *, unfinished: bool = False) -> list[RolloutRow]:
        query = "select * from rollouts" + (" where ended is null" if unfinished else "") + " order by id"
        return [RolloutRow(**{**dict(row), "told": bool(row["told"])}) for row in self._rows(query)]

    def unfinished_release(self) -> Release | None:
        """The release that is under way, or was when its controller ended."""
        row = self._one("select * from releases where ended is null order by id desc limit 1")
        if row is None:
            return None
        goals, came_from = json.loads(row["goals"]), json.loads(row["came_from"])
        return Release(row["id"], goals, came_from, row["strategy"], row["started"], row["undoing"])

    def asks(self) -> list[Ask]:
        """Questions without an answer, oldest first."""
        rows = self._rows("select id, tier, action, who from asks where answer is null order by id")
        return [Ask(row["id"], row["tier"], Action(row["action"]), row["who"]) for row in rows]

    def answer_to(self, number: int) -> str | None:
        row = self._one("select answer from asks where id = ?", number)
        return None if row is None else row["answer"]

    def log(self, rollout: int) -> list[LogRow]:
        """What happened in a rollout, oldest first."""
        rows = self._rows("select at, instance, kind, text from log where rollout = ? order by seq", rollout)
        return [LogRow(**dict(row)) for row in rows]

    def is_up(self) -> bool:
        """Whether an `up` was carried through and no `down` since. One that was killed half-way does not count."""
        return self.fact("up") is not None

    def tier_state(self) -> dict[str, object]:
        """`moving`: the tier that is being rolled, or None; `phases`: tier -> phase -> instances."""
        row = self._one("select tier from rollouts where ended is null order by id desc limit 1")
        phases: dict[str, dict[str, int]] = {}
        counts = "select tier, phase, count(*) as n from members where phase != 'gone' group by tier, phase"
        for line in self._rows(counts):
            phases.setdefault(line["tier"], {})[line["phase"]] = line["n"]
        return {"moving": row["tier"] if row else None, "phases": phases}

    def latest(self) -> float:
        """The time of the newest entry; 0 in an empty journal."""
        return float(self._one("select coalesce((select at from log order by seq desc limit 1), 0) as at")["at"])  # type: ignore[index]

    # -- underneath ----------------------------------------------------------------------------------------------

    def _put_member(self, tier: str, member: Member) -> None:
        told = {f.name: getattr(member, f.name) for f in fields(member) if f.name not in ("in_flight", "quiet")}
        self._db.execute(
            "insert or replace into members values (?, ?, ?, ?, ?)",
            (member.name, tier, member.phase, member.serial, json.dumps(told)),
        )

    def _unfinished_id(self, tier: str) -> int | None:
        row = self._one("select max(id) as id from rollouts where ended is null and tier = ?", tier)
        return None if row is None else row["id"]

    def _one(self, query: str, *values: object) -> sqlite3.Row | None:
        return next(iter(self._rows(query, *values)), None)

    def _rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise fail(
                f"the journal could not be read: {error}",
                where=str(self._file),
                state="Nothing was changed; what runs goes on running.",
                next="Give back the file as it was, or move it away: `changeover down` then ends what runs.",
            ) from error

    @contextmanager
    def _transaction(self, *, fenced: bool = False) -> Iterator[None]:
        try:
            self._db.execute("begin immediate")
            try:
                if fenced:
                    self._check_lease()
                yield
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:  # SQLite may have taken it back by itself: on a full disk it does
                    self._db.execute("rollback")
                raise
        except sqlite3.Error as error:
            raise fail(
                f"the journal could not be written: {error}",
                where=str(self._file),
                state="What was decided last was not begun. The chain goes on serving as it is.",
                next="Make room or give back the permissions, then run the same command again.",
            ) from error

    def _check_lease(self) -> None:
        row = self._one("select epoch from lease")
        if self._epoch is None or row is None or row["epoch"] != self._epoch:
            raise fail(
                "this controller no longer holds the chain: another one has taken over",
                state="Nothing was done after that.",
                next="changeover status",
            )


@dataclass(frozen=True)
class Line:
    """One line of the log. `kind`: event, command, phase, note or hook."""

    kind: str
    text: str
    instance: str = ""


def _member(text: str) -> Member:
    told: dict[str, Any] = json.loads(text)
    return Member(**{**told, "phase": Phase(told["phase"])})
