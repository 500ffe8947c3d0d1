"""Takes a journal of an older format to the present one, a step at a time.

How to add a format: write a function that takes a database from the last format to the next; append it to MIGRATIONS;
raise `schema.FORMAT` by one and change `schema.TABLES` to match; add a fixture of the last format to the tests
(`python -m tests.unit.engine.journal.dump FILE` prints one). A step uses SQL and plain JSON alone: it must do the same
in ten years, whatever becomes of the classes. A step that was once released is never changed.

The caller runs all steps in one transaction, so that a journal has the old format or the new one and nothing between.
No step may therefore call `executescript`, which commits.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from changeover.engine.journal.courses import tier_of

Migration = Callable[[sqlite3.Connection], None]


def migrate(db: sqlite3.Connection, version: int) -> None:
    """Run every step from `version` on, and store the new version. The caller holds a transaction."""
    for number, step in enumerate(MIGRATIONS[version:], start=version + 1):
        step(db)
        db.execute(f"pragma user_version = {number}")


def _to_1(db: sqlite3.Connection) -> None:
    """Standard words, and a lease that programs without a format cannot take."""
    _complete_unversioned(db)
    db.execute("alter table lease add column format integer not null default 0")
    db.execute("alter table tiers rename column course to state")
    db.execute("alter table rollouts rename column came_from to from_template")
    db.execute("alter table rollouts rename column goal to to_template")
    db.execute("alter table rollouts rename column told to hooks_done")
    db.execute("alter table releases rename column came_from to from_templates")
    db.execute("alter table releases rename column goals to to_templates")
    db.execute("alter table releases rename column undoing to undo_reason")
    db.execute("alter table asks rename to action_requests")
    db.execute("alter table action_requests rename column who to requested_by")
    db.execute("drop table templates")  # hashes: the next version hashes other settings
    row = db.execute("select value from facts where name = 'keeper'").fetchone()
    if row is not None:
        pid, born = map(int, row[0].split())
        keeper = json.dumps({"pid": pid, "born": born, "journal_format": 0})
        db.execute("update facts set value = ? where name = 'keeper'", (keeper,))


def _complete_unversioned(db: sqlite3.Connection) -> None:
    """Give all journals from the time before the format was stored the last layout of that time.

    The tables grew two columns then, and the JSON of a tier six keys. A program that was killed while it created the
    file may have left any part of the tables.
    """
    for statement in _UNVERSIONED:
        db.execute(statement)
    if "told" not in _columns(db, "rollouts"):
        db.execute("alter table rollouts add column told integer not null default 0")
        # Hooks run right after a rollout ends. To run them twice, weeks later, is the worse mistake.
        db.execute("update rollouts set told = 1 where ended is not null")
    if "strategy" not in _columns(db, "releases"):
        db.execute("alter table releases add column strategy text")
    for tier, course in _json_column(db, "tiers", "tier", "course"):
        complete = {
            "admitted_at": 0.0,
            "asked": False,
            "promoted": False,
            "asking": "",
            "after": "",
            "before_first": course["serial"],  # no instance was created as a baseline then
            **course,
        }
        db.execute("update tiers set course = ? where tier = ?", (json.dumps(complete), tier))


def _to_2(db: sqlite3.Connection) -> None:
    """A tier has one state by name, and an answer says by a value of its own whether the action was done."""
    for tier, course in _json_column(db, "tiers", "tier", "state"):
        db.execute("update tiers set state = ? where tier = ?", (json.dumps(tier_of(course)), tier))
    answers = db.execute("select id, answer from action_requests where answer is not null").fetchall()
    for number, text in answers:
        answer = {"done": not text.startswith("no: "), "text": text.removeprefix("no: ")}
        db.execute("update action_requests set answer = ? where id = ?", (json.dumps(answer), number))


def _to_3(db: sqlite3.Connection) -> None:
    """A rollout knows its longest drain."""
    db.execute("drop table if exists templates")  # some programs of format 2 stored hashes there
    for tier, stored in _json_column(db, "tiers", "tier", "state"):
        db.execute("update tiers set state = ? where tier = ?", (json.dumps(with_longest_drain(stored)), tier))


def with_longest_drain(tier: dict[str, Any]) -> dict[str, Any]:
    """A tier of format 2 as one of format 3. Changes it in place."""
    state = tier["state"]
    while "resume_to" in state:
        state = state["resume_to"]
    if "rollout" in state:
        state["rollout"]["longest_drain"] = 0.0
    return tier


MIGRATIONS: Sequence[Migration] = (_to_1, _to_2, _to_3)
"""Step n takes format n to format n + 1."""


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in db.execute(f"pragma table_info({table})")}


def _json_column(db: sqlite3.Connection, table: str, key: str, column: str) -> list[tuple[str, dict[str, Any]]]:
    return [(row[0], json.loads(row[1])) for row in db.execute(f"select {key}, {column} from {table}").fetchall()]


_UNVERSIONED = (
    "create table if not exists facts (name text primary key, value text not null)",
    """create table if not exists lease (id integer primary key check (id = 1), epoch integer not null, pid integer,
    born integer, purpose text not null, since real not null)""",
    "create table if not exists tiers (tier text primary key, course text not null)",
    """create table if not exists members (name text primary key, tier text not null, phase text not null,
    serial integer not null, member text not null)""",
    "create index if not exists members_here on members (tier, phase)",
    "create table if not exists templates (tier text, name text, hash text not null, primary key (tier, name))",
    """create table if not exists rollouts (id integer primary key, tier text not null, came_from text not null,
    goal text not null, started real not null, ended real, outcome text, reason text,
    told integer not null default 0)""",
    """create table if not exists releases (id integer primary key, goals text not null, came_from text not null,
    strategy text, started real not null, undoing text, ended real, outcome text, reason text)""",
    """create table if not exists asks (id integer primary key, tier text not null, action text not null,
    who text not null, at real not null, answer text)""",
    """create table if not exists log (seq integer primary key, at real not null, rollout integer, tier text,
    instance text, kind text not null, text text not null)""",
)
"""Format 0, as it was last."""
