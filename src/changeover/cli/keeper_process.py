"""The keeper's process: `up` and `roll` start it, `down` ends it. It runs `changeover keep`."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

from changeover.engine.journal.journal import Journal
from changeover.engine.journal.lease import lease
from changeover.kit import process
from changeover.model.errors import ChangeoverError


def keeper(journal: Journal) -> tuple[int, int] | None:
    """Pid and start time of the keeper that was left behind; it may have ended since."""
    told = journal.fact("keeper")
    return None if told is None else (int(told.split()[0]), int(told.split()[1]))


def mind_keeper(state: Path, journal: Journal) -> None:
    """Leave a keeper behind where there is none any more, unless somebody else is at work on the chain."""
    with contextlib.suppress(ChangeoverError), lease(journal, "up", time.time()):
        leave_keeper(state, journal)


def leave_keeper(state: Path, journal: Journal) -> None:
    """Start the keeper, unless it runs, and write down which process it is, so that `down` can end it."""
    if (known := keeper(journal)) is not None and process.is_alive(*known):
        return
    end_keeper(journal)
    home = keepers_home(journal)
    home.mkdir(exist_ok=True)
    command = (sys.executable, "-m", "changeover", "keep", "--state", str(state))
    pid, born = process.spawn(command, cwd=home, log=home / "log", env={})
    journal.set_facts({"keeper": f"{pid} {born}"})


def end_keeper(journal: Journal) -> None:
    """End the keeper: the process that was written down as it, and any whose command was killed before it could."""
    home = keepers_home(journal)
    if (known := keeper(journal)) is not None:
        process.kill_session(*known, home)
    for unrecorded in process.leaders_in(home):
        process.kill_session(*unrecorded, home)


def keepers_home(journal: Journal) -> Path:
    """The folder that the keeper, and nobody else, works in."""
    return journal.folder / "keeper"
