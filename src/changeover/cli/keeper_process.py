"""The keeper's process: `up` and `roll` start it, `down` ends it. It runs `changeover keep`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path

from changeover import chain_files
from changeover.cli.options.log_format import of_log_file
from changeover.engine.journal.journal import Journal, LeaseHeld
from changeover.engine.journal.lease import KEEPER, lease
from changeover.engine.journal.schema import FORMAT
from changeover.kit import process
from changeover.model.errors import ChangeoverError
from changeover.platforms.local.environment import Environments

LOOK = 0.1
"""Seconds between two attempts of a new keeper to record itself, while a command holds the lease."""


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
    pid, born = process.spawn(
        command, home=folder, env={**Environments(state).of_keeper(text), **of_log_file(), **_of_traces()}
    )
    journal.set_keeper(pid, born)


def _of_traces() -> dict[str, str]:
    """The variables of OpenTelemetry: the keeper sends the trace of a rollout that it carries to its end."""
    return {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}


async def claim(journal: Journal) -> None:
    """Make this process the recorded keeper, and end another one: a service manager may start it beside one of `up`."""
    pid = os.getpid()
    born = process.start_time(pid)
    assert born is not None
    while (known := journal.keeper()) is None or (known.pid, known.born) != (pid, born):
        with contextlib.suppress(LeaseHeld):
            journal.take_lease(KEEPER, time.time())
            try:
                if known is not None and known.is_alive():
                    process.kill_session(known.pid, known.born, keeper_folder(journal))
                journal.set_keeper(pid, born)
            finally:
                journal.release_lease()
        await asyncio.sleep(LOOK)


def end_keeper(journal: Journal) -> None:
    """End the recorded keeper, and any keeper whose command was killed before it recorded one."""
    folder = keeper_folder(journal)
    if (known := journal.keeper()) is not None:
        process.kill_session(known.pid, known.born, folder)
    process.kill_all_of(folder)


def keeper_folder(journal: Journal) -> Path:
    """The working folder of the keeper, which no other process uses."""
    return journal.folder / "keeper"
