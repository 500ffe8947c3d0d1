"""`changeover` as it is, in a process to which something happens at its N-th write: `dying.py WHAT N WORDS...`

A write is a commit of the journal: what it has committed is what it knows. The figures beside it count for nothing
here, since no decision needs them. WHAT is one of

    before     killed when it is about to be written
    after      killed when it has just been written, and nothing of it was performed
    full       from this one on the disk has no room for any
    unwritten  the write is lost and nobody notices; killed at the next one. No crash does that: it is the engine that
               performs first and writes afterwards, which is what the checks must catch
"""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import sys
from pathlib import Path
from resource import RLIMIT_FSIZE, getrlimit, setrlimit
from typing import Any

from changeover.cli.main import main

what, number = sys.argv[1], int(sys.argv[2])
writes = itertools.count(1)


class Mortal(sqlite3.Connection):
    """A connection to a database in whose commits the process dies."""

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if statement != "commit":
            return super().execute(statement, *values)
        write = next(writes)
        if (what, write) in (("before", number), ("unwritten", number + 1)):
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "full" and write >= number:
            return self._without_room()
        done = super().execute("rollback" if (what, write) == ("unwritten", number) else statement)
        if (what, write) == ("after", number):
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    def _without_room(self) -> sqlite3.Cursor:
        soft, hard = getrlimit(RLIMIT_FSIZE)
        setrlimit(RLIMIT_FSIZE, (0, hard))
        try:
            return super().execute("commit")
        finally:
            setrlimit(RLIMIT_FSIZE, (soft, hard))  # for what is started later, and writes files of its own


_connect = sqlite3.connect


def connect(database: str | Path, **options: Any) -> sqlite3.Connection:
    factory = Mortal if Path(database).name == "journal.db" else sqlite3.Connection
    return _connect(database, factory=factory, **options)


sqlite3.connect = connect  # type: ignore[assignment]
sys.argv[1:] = sys.argv[3:]
main()
