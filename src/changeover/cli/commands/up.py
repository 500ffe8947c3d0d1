"""`changeover up`: start a chain, and a keeper that replaces instances that die."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from changeover import wiring
from changeover.cli import exits
from changeover.cli.chains import chain_file, note_changes, refuse_orphans, wired
from changeover.cli.frame import run
from changeover.cli.keeper_process import ensure_keeper, start_keeper
from changeover.cli.options.common import STATE, FileOption, JsonOption, StateOption
from changeover.cli.rendering.output import Output
from changeover.cli.rendering.status import picture
from changeover.cli.survey import survey
from changeover.engine.journal.lease import lease, patient_lease
from changeover.engine.keeper.keeper import KeeperTiming, heal, needs_healing
from changeover.engine.lifecycle import bring_up
from changeover.engine.runtime import ProgressListener
from changeover.model.errors import fail

REVIVAL = 60.0
"""Seconds that `up` waits for what died, or the longest progress deadline: all instances may have to start at once."""


def up(file: FileOption = None, state: StateOption = STATE, json: JsonOption = False) -> None:
    """Start every tier from its first template and wait until all instances serve.

    If the chain is already up, only instances and load balancers that died are started again.
    """
    run(json, lambda output: _up(output, file, state), acts=True)


async def _up(output: Output, file: Path | None, state: Path) -> int:
    source = chain_file(file, state)
    if not (state / wiring.COPY).exists():
        refuse_orphans(state)
    async with wired(source, state) as found:
        with contextlib.closing(found.journal()) as journal:
            up_already = journal.is_up()
        if up_already:
            with contextlib.closing(found.journal()) as journal:
                ensure_keeper(found.state, journal)  # first: it goes on if this attempt does not succeed
            await _revive(output, found)
        else:
            note_changes(output, found, {tier.name: tier.first for tier in found.chain.tiers})
            await start(found, source, output.progress_since(time.time()))
        with contextlib.closing(found.journal()) as journal:
            data = await survey(found, journal)
            output.result(data, picture(data))
    return exits.DONE


async def _revive(output: Output, found: wiring.Wired) -> None:
    """Start what died of a chain that is up, after a power cut everything. Raises ChangeoverError if it stays down."""
    with contextlib.closing(found.journal()) as journal:
        if journal.rollouts(unfinished=True):
            output.note("A rollout is not finished; `changeover resume` continues it. The keeper replaces what died.")
            return
        if not needs_healing(found.runtime, journal):
            output.note("The chain is already up. Nothing was changed.")
            return
        output.note("The chain was up, and parts of it have died. They are started again.")
        patience = max(REVIVAL, *(tier.update.progress_deadline for tier in found.chain.tiers))
        async with patient_lease(journal, "up", time.time()):
            await heal(found.runtime, journal, output.progress_since(time.time()), KeeperTiming(heal=patience))
        if needs_healing(found.runtime, journal):
            raise fail(
                f"the chain does not serve whole within {patience:.0f} s",
                state="The keeper goes on with replacing the instances that died.",
                next="`changeover status` shows what is missing; the logs are in the state folder.",
            )


async def start(found: wiring.Wired, source: Path, on_progress: ProgressListener) -> None:
    """Bring a chain up and start its keeper. Raises ChangeoverError after it has stopped what it started."""
    targets = {tier.name: tier.first for tier in found.chain.tiers}
    found.check_software()
    found.check_configurations(targets)
    with contextlib.closing(found.journal()) as journal, lease(journal, "up", time.time()):
        # First: `down` finds the instances by the copy if this process is killed.
        found.keep_environment(journal, targets, fresh=True)
        found.keep_copy(journal, targets, fresh=True)
        journal.set_chain_file(source.resolve())
        await bring_up(found.runtime, journal, on_progress)
        start_keeper(found.state, journal)
