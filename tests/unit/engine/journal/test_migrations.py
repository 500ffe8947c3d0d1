"""A journal of every format that was ever written opens with what it said, or is refused with the reason.

The fixtures of format 0 were written by the program as it was at six times, letter by letter in the order in which its
layouts followed each other; no commit wrote any other. All of them record the same chain in the midst of a canary.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.engine.journal.dump import dump, restore

from changeover.engine.journal.database import Database
from changeover.engine.journal.journal import Journal, LeaseHeld
from changeover.engine.journal.migrations import MIGRATIONS
from changeover.engine.journal.records import KeeperProcess, LogLine, LogRow, Release, RolloutRow
from changeover.engine.journal.schema import FORMAT, TABLES
from changeover.kit import process
from changeover.model.errors import ChangeoverError
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.actions import Answer
from changeover.rollout.tier.state import AwaitingPermission, Paused, Resting, Rollout, Stepping, TierState

FIXTURES = Path(__file__).parent / "fixtures"
WRITTEN = sorted(path.stem for path in FIXTURES.glob("*.sql"))
OLDER = [name for name in WRITTEN if int(name.removeprefix("format-")[:1]) < FORMAT]

AWAITING = AwaitingPermission(
    step="set weight 50 %",
    done="set weight 10 %",
    resume_to=Stepping(
        Rollout("v1", "canary", serial_before=3, admissions=3, deaths=2, longest_drain=12.5),
        step=1,
        since=1004.0,
    ),
)
RUNTIME = TierState(
    goal="v2",
    state=Paused("me: look first", AWAITING),
    serial=5,
    failures=1,
    admitted_at=1003.5,
    not_before=1002.0,
    undo_to="v0",
    retry_to="v9",
)
"""The state of the fixtures' runtime, when every field is written."""


def runtime(name: str) -> TierState:
    """What the state is read as from a layout that did not have every field."""
    state, awaiting = RUNTIME, AWAITING
    if name <= "format-0a":
        state = replace(state, admitted_at=0.0)
    rollout = awaiting.resume_to.rollout
    if name <= "format-0e":
        rollout = replace(rollout, serial_before=5)
    if name <= "format-2":
        rollout = replace(rollout, longest_drain=0.0)
    awaiting = replace(awaiting, resume_to=replace(awaiting.resume_to, rollout=rollout))
    asks = name > "format-0d"
    return replace(state, state=Paused("me: look first", awaiting if asks else awaiting.resume_to))


WITHOUT_STRATEGY = ("format-0a", "format-0b", "format-0c")


@contextmanager
def opened(name: str, tmp_path: Path, *, lease: bool = False) -> Iterator[Journal]:
    file = tmp_path / "state" / "journal.db"
    restore((FIXTURES / f"{name}.sql").read_text(), file)
    with closing(Journal(file)) as journal:
        if lease:
            journal.take_lease("test", 2000.0)
        yield journal


@pytest.fixture(params=["read", "migrated"])
def takes_lease(request: pytest.FixtureRequest) -> bool:
    """Whether the journal is only read, or migrated by the process that takes its lease."""
    return str(request.param) == "migrated"


@pytest.mark.parametrize("name", WRITTEN)
def test_the_state_of_every_tier_is_read(name: str, tmp_path: Path, takes_lease: bool) -> None:
    with opened(name, tmp_path, lease=takes_lease) as journal:
        assert journal.tier("runtime") == runtime(name)
        gateway = journal.tier("gateway")
        assert gateway is not None
        assert (gateway.goal, gateway.state, gateway.serial) == ("v1", Resting(), 2)


@pytest.mark.parametrize("name", WRITTEN)
def test_every_instance_is_where_it_was(name: str, tmp_path: Path, takes_lease: bool) -> None:
    with opened(name, tmp_path, lease=takes_lease) as journal:
        draining, admitted = journal.fleet("runtime")
        assert draining == Member(
            "runtime-v1-1",
            "v1",
            1,
            Phase.DRAINING,
            times={
                "created": 10.0,
                "creating": 10.0,
                "warming": 11.0,
                "ready": 12.0,
                "admitted": 13.0,
                "leaving": 1004.0,
                "draining": 1005.0,
            },
            patience_from=10.0,
            asked_at=1004.0,
            deadline=1065.0,
            last_busy=1006.5,
            overdue=True,
            weight=90,
            weight_seen=80,
            served=True,
        )
        assert (admitted.name, admitted.phase, admitted.weight, admitted.served) == (
            "runtime-v2-4",
            Phase.ADMITTED,
            10,
            True,
        )
        gone = journal.members_since("runtime", 0.0)[1]
        assert (gone.name, gone.phase, gone.cut, gone.given_up) == (
            "runtime-v1-2",
            Phase.GONE,
            "1 upload with 3 MB to come",
            True,
        )
        assert journal.tier_state() == {
            "moving": "runtime",
            "phases": {"runtime": {"draining": 1, "admitted": 1}, "gateway": {"admitted": 1}},
        }


@pytest.mark.parametrize("name", WRITTEN)
def test_rollouts_releases_and_requests_are_read(name: str, tmp_path: Path, takes_lease: bool) -> None:
    with opened(name, tmp_path, lease=takes_lease) as journal:
        assert journal.rollouts() == [
            RolloutRow(
                id=1,
                tier="gateway",
                from_template="v1",
                to_template="v2",
                started=900.0,
                ended=950.0,
                outcome="undone",
                reason="edge-v2-9 was not ready after 20 s (progress_deadline)",
                hooks_done=True,
            ),
            RolloutRow(2, "runtime", "v1", "v2", 1001.0, None, None, None, hooks_done=False),
        ]
        assert journal.unfinished_release() == Release(
            id=1,
            to_templates={"runtime": "v2", "gateway": "v2"},
            from_templates={"runtime": "v1", "gateway": "v1"},
            strategy=None if name in WITHOUT_STRATEGY else "canary",
            started=1000.5,
            undo_reason=None,
        )
        (request,) = journal.action_requests()
        assert (request.id, request.tier, request.action, request.requested_by) == (2, "runtime", "abort", "ben")
        assert journal.answer_to(1) == Answer(True, "paused")


@pytest.mark.parametrize("name", WRITTEN)
def test_the_chain_and_its_log_are_read(name: str, tmp_path: Path, takes_lease: bool) -> None:
    with opened(name, tmp_path, lease=takes_lease) as journal:
        assert journal.is_up()
        assert journal.chain_file() == Path("/srv/shop/chain.yaml")
        assert journal.keeper() == KeeperProcess(4242, 777, int(name.removeprefix("format-")[:1]))
        assert journal.log(2) == [
            LogRow(1006.0, "runtime-v2-4", "note", "began"),
            LogRow(1006.0, "", "event", "Tick(at=1006.0)"),
        ]
        assert journal.latest() == 1006.0
        if not takes_lease:
            holder = journal.holder()
            assert holder is not None
            assert (holder.pid, holder.epoch, holder.purpose, holder.is_alive()) == (
                4141,
                1,
                "roll runtime to v2",
                False,
            )


@pytest.mark.parametrize("name", WRITTEN)
def test_a_controller_goes_on_with_it(name: str, tmp_path: Path) -> None:
    with opened(name, tmp_path, lease=True) as journal:
        journal.write_step(2001.0, "runtime", RUNTIME, list(journal.fleet("runtime")), [LogLine("note", "on")])
        journal.mark_hooks_done(2)
        journal.answer(2, Answer(True, "done"))
        journal.undo_release(1, "ben asked for it")
        journal.set_keeper(1, 2)
        journal.clear_tiers(2002.0)
        journal.release_lease()
        assert journal.holder() is None
        assert journal.unfinished_release() is None
        assert [row.outcome for row in journal.rollouts()] == ["undone", "failed"]


# -- the layout ----------------------------------------------------------------------------------------------------


def columns(db: sqlite3.Connection) -> dict[str, set[tuple[Any, ...]]]:
    """Of every table: name, type, whether it may be null, and its part in the primary key."""
    tables = [row[0] for row in db.execute("select name from sqlite_master where type = 'table'")]
    found = {}
    for table in tables:
        found[table] = {(row[1], row[2].lower(), row[3], row[5]) for row in db.execute(f"pragma table_info({table})")}
    return found


@pytest.mark.parametrize("name", OLDER)
def test_a_migrated_journal_has_the_layout_of_a_new_one(name: str, tmp_path: Path) -> None:
    new = sqlite3.connect(":memory:")
    for statement in TABLES:
        new.execute(statement)
    with opened(name, tmp_path, lease=True) as journal:
        file = journal.folder / "journal.db"
    migrated = sqlite3.connect(file)
    assert columns(migrated) == columns(new)
    assert migrated.execute("pragma user_version").fetchone() == (FORMAT,)
    migrated.close()
    new.close()


def test_there_is_a_step_to_every_format() -> None:
    assert len(MIGRATIONS) == FORMAT


def test_the_present_format_has_a_fixture() -> None:
    assert f"format-{FORMAT}" in WRITTEN


@pytest.mark.parametrize("number", range(10))
def test_a_journal_whose_creation_was_cut_short_is_completed(number: int, tmp_path: Path) -> None:
    """Programs without a format created their tables one by one."""
    file = tmp_path / "state" / "journal.db"
    whole = (FIXTURES / "format-0a.sql").read_text()
    tables = [part for part in whole.split(";\n") if part.lstrip().startswith("CREATE")]
    restore(";\n".join([*tables[: number + 1], ""]), file)
    with closing(Journal(file)) as journal:
        journal.take_lease("test", 1.0)
        assert journal.rollouts() == []
        assert not journal.is_up()


# -- older and newer programs at one journal -------------------------------------------------------------------------


def test_reading_an_older_journal_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    with opened("format-0f", tmp_path) as journal:
        file = journal.folder / "journal.db"
        before = dump(file)
        assert journal.tier("runtime") == runtime("format-0f")
        assert journal.action_requests()
        assert dump(file) == before


def test_a_reader_sees_what_an_older_controller_writes_meanwhile(tmp_path: Path) -> None:
    with opened("format-0f", tmp_path) as journal:
        assert journal.answer_to(2) is None
        with closing(sqlite3.connect(journal.folder / "journal.db")) as older, older:
            older.execute("update asks set answer = 'aborted' where id = 2")
        assert journal.answer_to(2) == Answer(True, "aborted")


def test_a_reader_goes_on_when_the_journal_is_migrated_under_it(tmp_path: Path) -> None:
    with opened("format-0f", tmp_path) as journal:
        assert journal.answer_to(2) is None
        with closing(Journal(journal.folder / "journal.db")) as newer:
            newer.take_lease("resume", 2000.0)
            newer.answer(2, Answer(True, "aborted"))
        assert journal.answer_to(2) == Answer(True, "aborted")
        holder = journal.holder()
        assert holder is not None
        assert holder.purpose == "resume"


def occupied(tmp_path: Path) -> Path:
    """A journal of format 0 whose holder lives: it is this very process."""
    file = tmp_path / "state" / "journal.db"
    restore((FIXTURES / "format-0f.sql").read_text(), file)
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("update lease set pid = ?, born = ?", (os.getpid(), process.start_time(os.getpid())))
    return file


def test_the_lease_of_a_living_older_controller_is_not_taken_nor_its_journal_migrated(tmp_path: Path) -> None:
    file = occupied(tmp_path)
    before = dump(file)
    with closing(Journal(file)) as journal, pytest.raises(LeaseHeld, match="roll runtime to v2"):
        journal.take_lease("roll", 2000.0)
    assert dump(file) == before


def test_no_request_is_left_for_an_older_controller_that_could_not_read_it(tmp_path: Path) -> None:
    file = occupied(tmp_path)
    with closing(Journal(file)) as journal, pytest.raises(ChangeoverError) as refused:
        journal.request_action("runtime", "pause", "ann", 2000.0)
    assert "an older version of changeover is working on this chain" in str(refused.value)
    assert "Nothing was changed" in str(refused.value)
    assert str(file) in str(refused.value)


TAKE_LEASE_0 = "insert or replace into lease values (1, ?, ?, ?, ?, ?)"
"""How programs of format 0 take the lease."""


@pytest.mark.parametrize("name", OLDER)
def test_an_older_keeper_cannot_take_the_lease_of_a_migrated_journal(name: str, tmp_path: Path) -> None:
    with opened(name, tmp_path, lease=True) as journal:
        journal.release_lease()
        with (
            closing(sqlite3.connect(journal.folder / "journal.db")) as older,
            pytest.raises(sqlite3.Error, match="7 columns but 6 values"),
        ):
            older.execute(TAKE_LEASE_0, (9, 1, 1, "healing", 2000.0))


def make_newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db:
        db.execute(f"pragma user_version = {FORMAT + 1}")


@pytest.mark.parametrize(
    "act",
    [
        lambda journal: journal.tier("runtime"),
        lambda journal: journal.take_lease("heal", 2000.0),
        lambda journal: journal.request_action("runtime", "pause", "ann", 2000.0),
    ],
    ids=["reads", "takes the lease", "leaves a request"],
)
def test_a_process_whose_journal_is_migrated_by_a_newer_version_stops(
    act: Callable[[Journal], object], tmp_path: Path
) -> None:
    with opened(f"format-{FORMAT}", tmp_path) as journal:
        make_newer(journal.folder / "journal.db")
        with pytest.raises(ChangeoverError, match="written by a newer version"):
            act(journal)


def test_a_migration_that_fails_leaves_the_journal_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "state" / "journal.db"
    restore((FIXTURES / "format-0a.sql").read_text(), file)
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("update tiers set course = '{' where tier = 'gateway'")
    before = dump(file)
    with closing(Journal(file)) as journal:
        with pytest.raises(ChangeoverError, match="could not be migrated from format 0 to format") as failed:
            journal.take_lease("test", 2000.0)
        assert "The journal was left as it was" in str(failed.value)
        with pytest.raises(ChangeoverError, match="could not be migrated"):
            journal.rollouts()
    assert dump(file) == before


def test_a_member_that_says_too_little_is_a_damaged_journal(tmp_path: Path) -> None:
    with opened(f"format-{FORMAT}", tmp_path) as journal:
        with closing(Database(journal.folder / "journal.db")) as db, db.transaction():
            db.execute("update members set member = json_remove(member, '$.serial')")
        with pytest.raises(ChangeoverError, match="the journal could not be read: KeyError: 'serial'"):
            journal.fleet("runtime")


def test_a_renamed_field_does_not_change_what_is_stored(tmp_path: Path) -> None:
    """What the fixture's writer stored is stored again, word for word. Only a new format may change it."""

    def stored() -> list[dict[str, Any]]:
        with closing(sqlite3.connect(tmp_path / "state" / "journal.db")) as db:
            rows = [*db.execute("select state from tiers order by tier"), *db.execute("select member from members")]
            return sorted((json.loads(text) for (text,) in rows), key=str)

    with opened(f"format-{FORMAT}", tmp_path, lease=True) as journal:
        before = stored()
        for tier in ("runtime", "gateway"):
            state = journal.tier(tier)
            assert state is not None
            journal.write_step(2001.0, tier, state, journal.members_since(tier, 0.0), [])
    assert stored() == before
