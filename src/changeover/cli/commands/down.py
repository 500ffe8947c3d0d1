"""`changeover down`: stop a chain."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import typer

from changeover import wiring
from changeover.cli import exits
from changeover.cli.chains import as_it_runs, refuse_orphans
from changeover.cli.frame import run
from changeover.cli.keeper_process import end_keeper
from changeover.cli.options.common import STATE, FileOption, JsonOption, StateOption
from changeover.cli.rendering.output import Output
from changeover.cli.traces import send_last_trace
from changeover.engine.adoption import release
from changeover.engine.journal.lease import KEEPER, lease
from changeover.engine.lifecycle import take_down
from changeover.engine.runtime import ProgressListener
from changeover.platforms.local import orphans
from changeover.ports import Adopts


def down(
    file: FileOption = None,
    state: StateOption = STATE,
    orphaned: Annotated[
        bool, typer.Option("--orphans", help="Also end processes of a chain whose state folder was deleted.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Stop every instance, edge first, and the load balancer. Keeps stored uploads, logs and the journal."""
    run(json, lambda output: _down(output, file, state, orphaned), acts=True)


async def _down(output: Output, file: Path | None, state: Path, orphaned: bool) -> int:
    found = as_it_runs(state, file)
    if found is None:
        left = orphans.find(state)
        if not orphaned:
            refuse_orphans(state)
        await orphans.end(left)
        names = list(dict.fromkeys(orphan.name for orphan in left))
        nothing = f"No chain is up in {state}. Nothing to do."
        output.result({"stopped": names, "killed": []}, f"Ended {', '.join(names)}." if names else nothing)
        return exits.DONE
    if isinstance(found.platform, Adopts):
        return await _release(output, found)
    async with traced(found, output):
        stopped, killed = await stop(found, output.progress_since(time.time()))
    text = f"Stopped {len(stopped)} instances." if stopped else f"No chain is up in {state}. Nothing to do."
    if killed:
        text += f" Killed at the end of their stop grace, perhaps with work left: {', '.join(killed)}."
    output.result({"stopped": stopped, "killed": killed}, text)
    return exits.INTERRUPTED if killed else exits.DONE


async def _release(output: Output, found: wiring.Wired) -> int:
    async with traced(found, output):
        with contextlib.closing(found.journal()) as journal, lease(journal, "down", time.time()):
            names = await release(found.runtime, journal) if journal.is_up() else []
    text = f"Released {len(names)} instances. They go on as they are." if names else "No chain is up. Nothing to do."
    output.result({"stopped": [], "killed": [], "released": names}, text)
    return exits.DONE


@contextlib.asynccontextmanager
async def traced(found: wiring.Wired, output: Output) -> AsyncIterator[None]:
    """Send the trace of the rollout that ends within the block: its controller was killed, or only paused it."""
    with contextlib.closing(found.journal()) as journal:
        open_release = journal.unfinished_release()
        yield
        if open_release is not None and journal.unfinished_release() is None:
            await send_last_trace(journal, output.note)


async def stop(found: wiring.Wired, on_progress: ProgressListener) -> tuple[list[str], list[str]]:
    """Take a chain down; returns the names of the stopped instances, and of the killed ones. Raises ChangeoverError."""
    with contextlib.closing(found.journal()) as journal:
        holder = journal.holder()
        keeper = journal.keeper()
        by_keeper = holder is not None and keeper is not None and holder.pid == keeper.pid
        if holder is None or by_keeper or holder.purpose == KEEPER or not holder.is_alive():
            end_keeper(journal)  # first, because the keeper may hold the lease
        with lease(journal, "down", time.time()):
            end_keeper(journal)
            return await take_down(found.runtime, journal, on_progress)
