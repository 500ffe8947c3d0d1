"""The journal's file: created whole, written in transactions that leave all or nothing, read with clear errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from changeover.engine.journal.database import Database
from changeover.engine.journal.schema import FORMAT
from changeover.model.errors import ChangeoverError


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(tmp_path / "state" / "journal.db")
    yield found
    found.close()


def put(database: Database, value: str) -> None:
    database.execute("insert or replace into facts (name, value) values ('a', ?)", value)


def value(database: Database) -> str | None:
    row = database.one("select value from facts where name = 'a'")
    return None if row is None else str(row["value"])


def test_a_new_file_has_the_present_format(database: Database) -> None:
    row = database.one("pragma user_version")
    assert row is not None
    assert row[0] == FORMAT
    assert database.rows("select * from members") == []


def test_a_transaction_is_there_for_other_processes_when_it_is_whole(database: Database) -> None:
    other = Database(database.file)
    try:
        with database.transaction():
            put(database, "1")
            assert value(other) is None
        assert value(other) == "1"
    finally:
        other.close()


def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    def fails() -> None:
        with database.transaction():
            put(database, "1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert value(database) is None
    with database.transaction():
        put(database, "2")
    assert value(database) == "2"


def test_a_statement_that_fails_is_a_journal_that_could_not_be_written(database: Database) -> None:
    def fails() -> None:
        with database.transaction():
            put(database, "1")
            database.execute("insert into nowhere values (1)")

    with pytest.raises(ChangeoverError, match=r"the journal could not be written: no such table: nowhere"):
        fails()
    assert value(database) is None


def test_a_query_that_fails_is_a_journal_that_could_not_be_read(database: Database) -> None:
    with pytest.raises(ChangeoverError, match=r"the journal could not be read: no such table: nowhere"):
        database.rows("select * from nowhere")


@pytest.mark.parametrize("error", [ValueError("odd"), KeyError("name"), TypeError("odd")])
def test_stored_text_that_means_nothing_is_a_journal_that_could_not_be_read(
    database: Database, error: Exception
) -> None:
    def load(_: str) -> str:
        raise error

    with pytest.raises(ChangeoverError, match="the journal could not be read"):
        database.parse(load, "{}")


def test_a_file_of_a_newer_format_is_refused_and_closed(database: Database) -> None:
    newer = sqlite3.connect(database.file)
    newer.execute(f"pragma user_version = {FORMAT + 1}")
    newer.close()
    with pytest.raises(ChangeoverError) as refused:
        Database(database.file)
    assert str(refused.value) == (
        f"{database.file}: the journal was written by a newer version of changeover: its format is {FORMAT + 1}, "
        f"this version reads up to {FORMAT}\n"
        "  Nothing was changed; the chain goes on serving.\n"
        "  Use the newer version of changeover for this chain."
    )
    with pytest.raises(ChangeoverError, match="newer version"):
        value(database)
