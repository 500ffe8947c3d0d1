"""`changeover keep`: the keeper that `up` leaves behind. Not for people; `down` ends it."""

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
from changeover.cli.options.common import STATE, StateOption
from changeover.cli.rendering.output import Output
from changeover.engine.keeper.keeper import keep as keep_chain
from changeover.model.errors import ChangeoverError
from changeover.ports import CannotStart, Unknown

TRY_AGAIN = 1.0
"""Seconds after something went wrong."""


def keep(state: StateOption = STATE) -> None:
    """Replace instances that die, for as long as the chain is up."""
    run(False, lambda output: _keep(output, state))


async def _keep(output: Output, state: Path) -> int:
    since = time.time()
    while True:
        try:
            stamp = _stamp(state)
            async with as_it_runs(state) as found:
                if found is None:
                    return exits.DONE
                with contextlib.closing(found.journal()) as journal:
                    if not journal.is_up():
                        return exits.DONE
                    await keep_chain(found.world, journal, output.teller(since), partial(_changed, state, stamp))
        except (ChangeoverError, CannotStart, Unknown, OSError, sqlite3.Error) as error:
            output.err.print(f"{error}; trying again", markup=False)  # a full disk passes; a keeper that left does not
            await asyncio.sleep(TRY_AGAIN)


def _changed(state: Path, stamp: int) -> bool:
    """Whether a command has put another chain file in place, which must then be read anew."""
    return _stamp(state) != stamp


def _stamp(state: Path) -> int:
    return (state / "chain.yaml").stat().st_mtime_ns
