"""`changeover status`: every instance, its phase and its requests in flight."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer

from changeover.cli import exits
from changeover.cli.frame import run
from changeover.cli.options.common import STATE, FileOption, JsonOption, StateOption
from changeover.cli.rendering.output import Output

WATCH_INTERVAL = 0.5
"""Seconds between two refreshes of --watch."""


def status(
    file: FileOption = None,
    state: StateOption = STATE,
    json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh the output until Ctrl-C.")] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Exit by the state of the chain: 0 serving as it should, 1 degraded, 2 down."),
    ] = False,
) -> None:
    """Show every tier, template and instance: phase, requests in flight, drain time left.

    Processes, the load balancer and every router are asked; the journal alone counts for nothing.
    """
    run(json, lambda output: _status(output, file, state, watch and not json, check))


NOTHING_STARTED: dict[str, Any] = {
    "chain": None,
    "up": False,
    "state": "down",
    "findings": ["No chain has been started."],
    "edge_url": None,
    "ca_file": None,
    "active_command": None,
    "load_balancer_running": False,
    "keeper_pid": None,
    "tiers": [],
    "instances": [],
}


async def _status(output: Output, file: Path | None, state: Path, watch: bool, check: bool) -> int:
    if file is None and not (state / "chain.yaml").exists():
        return _nothing_started(output, state, check)
    # Imported here because all that acts on a chain takes most of the start, and there may be no chain.
    from rich.live import Live

    from changeover.cli.chains import as_it_runs
    from changeover.cli.rendering.status import picture
    from changeover.cli.survey import survey

    found = as_it_runs(state, file)
    if found is None:
        return _nothing_started(output, state, check)
    with contextlib.closing(found.journal()) as journal:
        if not watch:
            data = await survey(found, journal)
            output.result(data, picture(data))
            return exits.BY_STATE[data["state"]] if check else exits.DONE
        with (
            Live(console=output.out, auto_refresh=False) as live,
            contextlib.suppress(asyncio.CancelledError),
        ):
            while True:
                live.update(picture(await survey(found, journal)), refresh=True)
                await asyncio.sleep(WATCH_INTERVAL)
    return exits.DONE


def _nothing_started(output: Output, state: Path, check: bool) -> int:
    from changeover.platforms.local import orphans

    output.result(NOTHING_STARTED, f"No chain has been started in {state}.")
    if left := orphans.find(state):
        names = ", ".join(map(str, left))
        output.note(f"Processes that were started for it still run: {names}. `changeover down --orphans` ends them.")
    return exits.BY_STATE["down"] if check else exits.DONE
