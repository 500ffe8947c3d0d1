"""`changeover keep`: the keeper process. `up` starts it and `down` ends it; users do not call it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from functools import partial
from pathlib import Path

from changeover.cli import exits
from changeover.cli.chains import as_it_runs
from changeover.cli.frame import run
from changeover.cli.keeper_process import claim
from changeover.cli.options.common import STATE, StateOption
from changeover.cli.rendering.output import Output
from changeover.cli.traces import send_last_trace
from changeover.engine.keeper.keeper import keep as keep_chain
from changeover.model.errors import ChangeoverError
from changeover.platforms.local.logs import bounded
from changeover.ports import Adopts, CannotStart, Unknown

RETRY_AFTER = 1.0
"""Seconds between a failure and the next attempt."""


def keep(state: StateOption = STATE) -> None:
    """Replace instances that die, for as long as the chain is up."""
    run(False, lambda output: _keep(output, state), acts=True)


async def _keep(output: Output, state: Path) -> int:
    since = time.time()
    async with bounded(state):
        return await _until_down(output, state, since)


async def _until_down(output: Output, state: Path, since: float) -> int:
    while True:
        try:
            if not (state / "chain.yaml").exists():  # the state folder was removed, and with it the chain
                return exits.DONE
            stamp = _stamp(state)
            found = as_it_runs(state)
            if found is None:
                return exits.DONE
            if isinstance(found.platform, Adopts):
                output.note("This chain has no keeper: its platform replaces instances that die. Nothing to do.")
                return exits.DONE
            with contextlib.closing(found.journal()) as journal:
                if not journal.is_up():
                    return exits.DONE
                await claim(journal)
                await keep_chain(
                    found.runtime,
                    journal,
                    output.progress_since(since),
                    partial(_changed, state, stamp),
                    carried=partial(send_last_trace, journal, output.note),
                )
        except (ChangeoverError, CannotStart, Unknown, OSError, sqlite3.Error) as error:
            # A full disk is temporary, and a keeper that exits is not replaced.
            output.note(f"{error}; retrying")
            await asyncio.sleep(RETRY_AFTER)


def _changed(state: Path, stamp: int) -> bool:
    """Whether a command has replaced the chain file since."""
    return _stamp(state) != stamp


def _stamp(state: Path) -> int:
    return (state / "chain.yaml").stat().st_mtime_ns
