"""The keeper's process: `up` and `roll` start it, `down` ends it. It runs `changeover keep`."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

from changeover.engine.journal.journal import Journal
from changeover.engine.journal.lease import lease
from changeover.engine.journal.schema import FORMAT
from changeover.kit import process
from changeover.model.errors import ChangeoverError


def mind_keeper(state: Path, journal: Journal) -> None:
    """Leave a keeper behind where there is none any more, unless somebody else is at work on the chain."""
    with contextlib.suppress(ChangeoverError), lease(journal, "up", time.time()):
        leave_keeper(state, journal)


def leave_keeper(state: Path, journal: Journal) -> None:
    """Start the keeper, unless it runs, and write down which process it is, so that `down` can end it.

    A keeper of an older version cannot read the journal that this version has migrated. It is replaced.
    """
    known = journal.keeper()
    if known is not None and known.is_alive() and known.journal_format == FORMAT:
        return
    end_keeper(journal)
    home = keepers_home(journal)
    home.mkdir(exist_ok=True)
    command = (sys.executable, "-m", "changeover", "keep", "--state", str(state))
    pid, born = process.spawn(command, cwd=home, log=home / "log", env={})
    journal.set_keeper(pid, born)


def end_keeper(journal: Journal) -> None:
    """End the keeper: the process that was written down as it, and any whose command was killed before it could."""
    home = keepers_home(journal)
    if (known := journal.keeper()) is not None:
        process.kill_session(known.pid, known.born, home)
    for unrecorded in process.leaders_in(home):
        process.kill_session(*unrecorded, home)


def keepers_home(journal: Journal) -> Path:
    """The folder that the keeper, and nobody else, works in."""
    return journal.folder / "keeper"
