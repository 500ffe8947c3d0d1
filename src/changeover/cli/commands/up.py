"""`changeover up`: start a chain, and leave behind a keeper that replaces what dies."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

from changeover import wiring
from changeover.cli import exits
from changeover.cli.commands.down import end_keeper, keepers_home
from changeover.cli.commands.status import keeper, picture, survey
from changeover.cli.options.common import FileOption, JsonOption, StateOption, chain_file, run, wired
from changeover.cli.rendering.output import Output
from changeover.engine.journal.journal import Journal
from changeover.engine.journal.lease import lease
from changeover.engine.lifecycle import bring_up
from changeover.engine.runtime import ProgressListener
from changeover.kit import process
from changeover.model.errors import ChangeoverError


def up(file: FileOption = None, state: StateOption = wiring.STATE, json: JsonOption = False) -> None:
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
        journal.set_facts({"file": str(source.resolve())})
        await bring_up(found.world, journal, tell)
        leave_keeper(found.state, journal)


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
