"""The journal's file: opened, checked for its format, read and written in transactions.

A file of a newer format is refused. A file of an older format is migrated by the first process that takes the lease,
in the same transaction. A process that only reads (`status`, `history`) must not change a file that an older controller
may be writing: it reads a migrated copy in memory, and copies again when the file has changed. Nothing but the lease
can be written to a file of an older format.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from changeover.engine.journal.migrations import migrate
from changeover.engine.journal.schema import FORMAT, TABLES
from changeover.model.errors import ChangeoverError, fail

Parsed = TypeVar("Parsed")


class Database:
    """One SQLite file in the present format, or read as if it were."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._copy: tuple[int, sqlite3.Connection] | None = None
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._db = _connect(str(file))
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        try:
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = full")
            if self._is_empty():
                self._create()
            self._check_known()
        except sqlite3.Error as error:
            self.close()
            raise self._unusable(error) from error
        except ChangeoverError:
            self.close()
            raise

    def close(self) -> None:
        self._drop_copy()
        self._db.close()

    # -- reading -----------------------------------------------------------------------------------------------------

    def one(self, query: str, *values: object) -> sqlite3.Row | None:
        return next(iter(self.rows(query, *values)), None)

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        try:
            return self._readable().execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def parse(self, load: Callable[[str], Parsed], text: str) -> Parsed:
        """Turn stored JSON into what it stands for. Raises ChangeoverError where it stands for nothing."""
        try:
            return load(text)
        except (ValueError, KeyError, TypeError) as error:
            raise self._unreadable(error) from error

    def version(self) -> tuple[int, int]:
        """Differs whenever this or another process has written to the file since the last call."""
        try:
            (others,) = self._db.execute("pragma data_version").fetchone()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        return int(others), self._db.total_changes

    def _check_known(self) -> int:
        """Returns the format of the file. Raises ChangeoverError when it is newer than this program."""
        version = _format_of(self._db)
        if version > FORMAT:
            raise fail(
                f"the journal was written by a newer version of changeover: its format is {version}, "
                f"this version reads up to {FORMAT}",
                where=str(self.file),
                state="Nothing was changed; the chain goes on serving.",
                next="Use the newer version of changeover for this chain.",
            )
        return version

    def _readable(self) -> sqlite3.Connection:
        """The file, or a migrated copy of it."""
        if self._check_known() == FORMAT:
            self._drop_copy()
            return self._db
        (change,) = self._db.execute("pragma data_version").fetchone()
        if self._copy is None or self._copy[0] != change:
            self._drop_copy()
            copy = _connect(":memory:")
            self._copy = change, copy
            self._db.backup(copy)
            self._migrate(copy)
        return self._copy[1]

    def _drop_copy(self) -> None:
        if self._copy is not None:
            self._copy[1].close()
            self._copy = None

    # -- writing -----------------------------------------------------------------------------------------------------

    def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        """Part of a transaction."""
        return self._db.execute(statement, values)

    @contextmanager
    def transaction(self, *, migrates: bool = False) -> Iterator[None]:
        """All that the block writes, or nothing. `migrates`: a file of an older format is migrated first."""
        try:
            self._db.execute("begin immediate")
            try:
                if (version := self._check_known()) < FORMAT:
                    if not migrates:
                        raise self._outdated(version)
                    self._migrate(self._db)
                yield
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:  # SQLite may have taken it back by itself: on a full disk it does
                    self._db.execute("rollback")
                raise
        except sqlite3.Error as error:
            raise fail(
                f"the journal could not be written: {error}",
                where=str(self.file),
                state="The last decision was not carried out. The chain goes on serving as it is.",
                next="Make room on the disk or restore the file's permissions, then run the same command again.",
            ) from error

    def _migrate(self, db: sqlite3.Connection) -> None:
        version = _format_of(db)
        try:
            migrate(db, version)
        except (sqlite3.Error, ValueError, KeyError) as error:
            raise fail(
                f"the journal could not be migrated from format {version} to format {FORMAT}: "
                f"{type(error).__name__}: {error}",
                where=str(self.file),
                state="The journal was left as it was; the chain goes on serving.",
                next="Use the version of changeover that wrote it, or restore the file from a copy.",
            ) from error

    def _is_empty(self) -> bool:
        return self._db.execute("select 1 from sqlite_master limit 1").fetchone() is None

    def _create(self) -> None:
        self._db.execute("begin immediate")
        try:
            if self._is_empty():  # still: another process may have been faster
                for statement in TABLES:
                    self._db.execute(statement)
                self._db.execute(f"pragma user_version = {FORMAT}")
            self._db.execute("commit")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("rollback")
            raise

    # -- errors ------------------------------------------------------------------------------------------------------

    def _unusable(self, error: Exception) -> ChangeoverError:
        return fail(
            f"the journal cannot be used: {error}",
            where=str(self.file),
            state="Nothing was changed; the chain goes on serving.",
            next="Make room on the disk, restore the file or its permissions, or name another folder with --state.",
        )

    def _unreadable(self, error: Exception) -> ChangeoverError:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError | TypeError) else str(error)
        return fail(
            f"the journal could not be read: {reason}",
            where=str(self.file),
            state="Nothing was changed; the chain goes on serving.",
            next="Restore the file from a copy, or move it away: `changeover down` then stops every instance.",
        )

    def _outdated(self, version: int) -> ChangeoverError:
        return fail(
            f"an older version of changeover is working on this chain: its journal has format {version}, "
            f"this version writes {FORMAT}",
            where=str(self.file),
            state="Nothing was changed; the controller of the older version goes on.",
            next="Use that version's command, or wait until its controller has ended and run this command again.",
        )


def _connect(place: str) -> sqlite3.Connection:
    db = sqlite3.connect(place, timeout=10, isolation_level=None)
    db.row_factory = sqlite3.Row
    return db


def _format_of(db: sqlite3.Connection) -> int:
    (version,) = db.execute("pragma user_version").fetchone()
    return int(version)
