"""The layout of the journal's database as this version writes it.

`FORMAT` is stored in the file (`PRAGMA user_version`). A new file is created from `TABLES`; an older one gets the same
layout step by step from `migrations`, and a test compares the two. A change of TABLES, or of the JSON that `serialise`
makes, needs a higher FORMAT and a migration.
"""

from __future__ import annotations

FORMAT = 3

TABLES = (
    "create table facts (name text primary key, value text not null)",
    # Programs that know only format 0 insert six values here. The seventh column refuses them the lease.
    """create table lease (id integer primary key check (id = 1), epoch integer not null, pid integer, born integer,
    purpose text not null, since real not null, format integer not null)""",
    "create table tiers (tier text primary key, state text not null)",
    """create table members (name text primary key, tier text not null, phase text not null, serial integer not null,
    member text not null)""",
    "create index members_here on members (tier, phase)",
    """create table rollouts (id integer primary key, tier text not null, from_template text not null, to_template text
    not null, started real not null, ended real, outcome text, reason text, hooks_done integer not null)""",
    """create table releases (id integer primary key, to_templates text not null, from_templates text not null, strategy
    text, started real not null, undo_reason text, ended real, outcome text, reason text)""",
    """create table action_requests (id integer primary key, tier text not null, action text not null, requested_by text
    not null, at real not null, answer text)""",
    """create table log (seq integer primary key, at real not null, rollout integer, tier text, instance text, kind text
    not null, text text not null)""",
)
