"""The keeper's process: `up` and `roll` start it, `down` ends it. It runs `changeover keep`."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

from changeover import chain_files
from changeover.engine.journal.journal import Journal
from changeover.engine.journal.lease import lease
from changeover.engine.journal.schema import FORMAT
from changeover.kit import process
from changeover.model.errors import ChangeoverError
from changeover.platforms.local.environment import Environments


def ensure_keeper(state: Path, journal: Journal) -> None:
    """Start a keeper if none runs, unless another command holds the lease."""
    with contextlib.suppress(ChangeoverError), lease(journal, "up", time.time()):
        start_keeper(state, journal)


def start_keeper(state: Path, journal: Journal) -> None:
    """Start the keeper unless it runs, and record its process so that `down` can end it.

    A keeper of an older version cannot read the journal that this version has migrated. It is replaced. Instances that
    a platform adopted have none: their group replaces what dies.
    """
    if chain_files.read_chain(state / chain_files.COPY, stored=True)[0].chain.platform.kind != "local":
        return
    known = journal.keeper()
    if known is not None and known.is_alive() and known.journal_format == FORMAT:
        return
    end_keeper(journal)
    folder = keeper_folder(journal)
    folder.mkdir(exist_ok=True)
    command = (sys.executable, "-m", "changeover", "keep", "--state", str(state))
    text = (state / chain_files.COPY).read_text(encoding="utf-8")
    pid, born = process.spawn(command, home=folder, env=Environments(state).of_keeper(text))
    journal.set_keeper(pid, born)


def end_keeper(journal: Journal) -> None:
    """End the recorded keeper, and any keeper whose command was killed before it recorded one."""
    folder = keeper_folder(journal)
    if (known := journal.keeper()) is not None:
        process.kill_session(known.pid, known.born, folder)
    process.kill_all_of(folder)


def keeper_folder(journal: Journal) -> Path:
    """The working folder of the keeper, which no other process uses."""
    return journal.folder / "keeper"
