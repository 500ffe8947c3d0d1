"""`changeover up`: start a chain, and leave behind a keeper that replaces what dies."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from changeover import wiring
from changeover.cli import exits
from changeover.cli.chains import chain_file, wired
from changeover.cli.frame import run
from changeover.cli.keeper_process import leave_keeper, mind_keeper
from changeover.cli.options.common import STATE, FileOption, JsonOption, StateOption
from changeover.cli.rendering.output import Output
from changeover.cli.rendering.status import picture
from changeover.cli.survey import survey
from changeover.engine.journal.lease import lease
from changeover.engine.lifecycle import bring_up
from changeover.engine.runtime import ProgressListener


def up(file: FileOption = None, state: StateOption = STATE, json: JsonOption = False) -> None:
    """Start every tier from its first template and wait until all serve. A chain that is up already is left alone."""
    run(json, lambda output: _up(output, file, state))


async def _up(output: Output, file: Path | None, state: Path) -> int:
    source = chain_file(file, state)
    async with wired(source, state) as found:
        with contextlib.closing(found.journal()) as journal:
            up_already = journal.is_up()
        if up_already:
            output.err.print("The chain is up already; nothing was changed.")
        else:
            await start(found, source, output.teller(time.time()))
        with contextlib.closing(found.journal()) as journal:
            if up_already:
                mind_keeper(found.state, journal)
            data = await survey(found, journal)
            output.result(data, picture(data))
    return exits.DONE


async def start(found: wiring.Wired, source: Path, tell: ProgressListener) -> None:
    """Bring a chain up and leave its keeper behind. Raises ChangeoverError; nothing is left running then."""
    wiring.check_software(found.chain)
    with contextlib.closing(found.journal()) as journal, lease(journal, "up", time.time()):
        found.keep_copy()  # first: with it `down` finds what was started, whatever becomes of this process
        journal.set_chain_file(source.resolve())
        await bring_up(found.world, journal, tell)
        leave_keeper(found.state, journal)
