"""`changeover up`: start a chain, and a keeper that replaces instances that die."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

from changeover import chain_files, wiring
from changeover.cli import exits
from changeover.cli.chain_audit import NOTHING_STARTED, ChainAudit, audit_chain
from changeover.cli.chain_changes import check_is_that_chain, not_applied
from changeover.cli.chains import as_it_runs, chain_file, note_changes, refuse_orphans
from changeover.cli.frame import run
from changeover.cli.keeper_process import ensure_keeper, start_keeper
from changeover.cli.options.common import STATE, FileOption, JsonOption, StateOption
from changeover.cli.preconditions import check_preconditions
from changeover.cli.rendering.output import Output
from changeover.cli.rendering.status import picture
from changeover.cli.survey import survey
from changeover.engine.adoption import adopt
from changeover.engine.journal.journal import Journal
from changeover.engine.journal.lease import lease
from changeover.engine.keeper.health import inspect, serves_whole
from changeover.engine.lifecycle import bring_up
from changeover.engine.outside import check_routers
from changeover.engine.release.release import in_words
from changeover.engine.runtime import ProgressListener
from changeover.model.errors import ChangeoverError, fail
from changeover.platforms.local.logs import bounded
from changeover.ports import Adopts
from changeover.wiring import wire

REVIVAL = 60.0
"""Seconds that `up` waits for what died, or the longest progress deadline: all instances may have to start at once."""
LOOK = 0.2
"""Seconds between two looks at what serves."""


def up(file: FileOption = None, state: StateOption = STATE, json: JsonOption = False) -> None:
    """Start every tier from its first template and wait until all instances serve.

    If the chain is already up, the templates that it runs are started again where instances or load balancers died.
    The exit code then is that of `status --check`.
    """
    run(json, lambda output: _up(output, file, state), acts=True)


async def _up(output: Output, file: Path | None, state: Path) -> int:
    known = as_it_runs(state)
    if known is not None:
        with contextlib.closing(known.journal()) as journal:
            if journal.is_up():
                _compare(output, known, journal, file)
                if isinstance(known.platform, Adopts):
                    return await _adopt(output, file or journal.chain_file() or known.state, state)
                ensure_keeper(known.state, journal)
                await _until_whole(output, known, journal)
                return await _show(output, known, journal)
    source = chain_file(file, state)
    if not (state / chain_files.COPY).exists():
        refuse_orphans(state)
    found = wire(source, state)
    if isinstance(found.platform, Adopts):
        return await _adopt(output, source, state)
    first = {tier.name: tier.first for tier in found.chain.tiers}
    note_changes(output, found, first)
    found.check_software()
    audited = audit_chain(found, first)
    audited.note(output)
    await start(found, source, output.progress_since(time.time()))
    with contextlib.closing(found.journal()) as journal:
        await _until_whole(output, found, journal, fresh=True)
        return await _show(output, found, journal, audited)


async def _adopt(output: Output, source: Path, state: Path) -> int:
    """Adopt a chain, or adopt it again; prints what there is. Raises ChangeoverError."""
    found = wire(source, state)
    found.check_software()
    with contextlib.closing(found.journal()) as journal, lease(journal, "up", time.time()):
        if (unfinished := journal.unfinished_release()) is not None:
            raise fail(
                f"a rollout ({in_words(unfinished.to_templates)}) is not finished",
                state="Nothing was changed.",
                next="Finish it with `changeover resume`, or take it back with `changeover abort`.",
            )
        read = await check_preconditions(output, found, [tier.name for tier in found.chain.tiers])
        await adopt(found.runtime, journal, read)
        found.keep_copy(journal, {}, fresh=True)
        journal.set_chain_file(source.resolve())
    found = wire(state / chain_files.COPY, state)  # with the sizes that the groups have
    with contextlib.closing(found.journal()) as journal:
        output.note(f"Adopted {sum(tier.size for tier in found.chain.tiers)} instances. Nothing was changed.")
        return await _show(output, found, journal)


async def _show(output: Output, found: wiring.Wired, journal: Journal, audited: ChainAudit = NOTHING_STARTED) -> int:
    data = await survey(found, journal)
    output.result({**data, "audit": audited.data()}, picture(data))
    return exits.BY_STATE[data["state"]]


def _compare(output: Output, known: wiring.Wired, journal: Journal, given: Path | None) -> None:
    """Refuse a given file of another chain, and name what a file has that the running chain does not have yet."""
    started_from = journal.chain_file()
    file = given or started_from
    if file is None or (given is None and not file.exists()):
        return
    try:
        chain = chain_files.read_chain(file)[0].chain
        if given is not None:
            check_is_that_chain(chain, file, known.chain, started_from, known.state)
    except ChangeoverError as error:
        if given is not None:
            raise
        output.note(f"{error}\nThe chain goes on as it runs.")
        return
    if changes := not_applied(chain, chain_files.read_chain(known.state / chain_files.COPY)[0].chain):
        output.note(
            f"{file} differs from what runs in: {', '.join(changes)}. `up` applies none of it; "
            "`changeover roll TIER --to TEMPLATE` does, or names what needs `down` and `up`."
        )


async def _until_whole(output: Output, found: wiring.Wired, journal: Journal, *, fresh: bool = False) -> None:
    """Wait until every tier has its instances in service, for a limited time.

    The keeper starts what died, or the controller of a rollout does. `fresh`: this command has just started all.
    """
    deadline = time.monotonic() + max(REVIVAL, *(tier.update.progress_deadline for tier in found.chain.tiers))
    waits = fresh
    while not serves_whole(found.chain, journal, await inspect(found.runtime, journal)):
        if not waits:
            waits = True
            output.note("The chain was up, and parts of it do not serve. The keeper starts them again.")
        if time.monotonic() > deadline:
            return
        await asyncio.sleep(LOOK)
    if not waits:
        output.note("The chain is already up. Nothing was changed.")


async def start(found: wiring.Wired, source: Path, on_progress: ProgressListener) -> None:
    """Bring a chain up and start its keeper. Raises ChangeoverError after it has stopped what it started."""
    targets = {tier.name: tier.first for tier in found.chain.tiers}
    found.check_software()
    found.check_configurations(targets)
    await check_routers(found.runtime, targets)
    with contextlib.closing(found.journal()) as journal, lease(journal, "up", time.time()):
        # First: `down` finds the instances by the copy if this process is killed.
        found.keep_environment(journal, targets, fresh=True)
        found.keep_copy(journal, targets, fresh=True)
        journal.set_chain_file(source.resolve())
        async with bounded(found.state):
            await bring_up(found.runtime, journal, on_progress)
        start_keeper(found.state, journal)
