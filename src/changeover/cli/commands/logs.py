"""`changeover logs`: what instances, load balancer, keeper and controller wrote, in one order of time.

It reads the state folder alone, so it works after `down` and after a crash. Refuses a name that has no log.
"""

from __future__ import annotations

import contextlib
import itertools
import select
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from changeover import chain_files
from changeover.cli import exits
from changeover.cli.chains import stored_journal
from changeover.cli.frame import run_synchronous
from changeover.cli.options.common import STATE, StateOption
from changeover.cli.options.values import seconds
from changeover.cli.rendering.logs import as_line, as_text
from changeover.cli.rendering.output import Output
from changeover.cli.rendering.stdout import leave, write
from changeover.logs.entries import Entry, merged
from changeover.logs.sources import ChainLogs
from changeover.model.errors import ChangeoverError, fail
from changeover.model.platform import PlatformSettings

LOOK = 0.25
"""Seconds between two looks at logs that are followed."""
_AT_ONCE = 200
"""Lines of one write."""


def logs(
    target: Annotated[
        str,
        typer.Argument(
            metavar="[INSTANCE|TIER]",
            help="Its lines alone. Also: `controller`, `keeper`, `roll`, `haproxy`.",
            show_default=False,
        ),
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written, until Ctrl-C.")] = False,
    since: Annotated[
        float | None,
        typer.Option(parser=seconds, metavar="TIME", help="Lines of this long, such as 10m. Default: all."),
    ] = None,
    state: StateOption = STATE,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each line.")] = False,
) -> None:
    """Print the logs of instances, load balancer, keeper and controller in one order of time.

    It works after `down` and after a crash, and prints instances that are gone for as long as their folder is kept. A
    line without a time keeps its place after the line before it. The controller's lines come from the journal. With
    --follow, Ctrl-C, SIGTERM or a reader that closes the pipe ends it.
    """
    run_synchronous(json, lambda output: _logs(output, state, target, follow, since))


def _logs(output: Output, state: Path, target: str, follow: bool, since: float | None) -> int:
    with (
        contextlib.closing(stored_journal(state)) as journal,
        contextlib.closing(ChainLogs(state, journal, follow=follow)) as found,
    ):
        platform = _platform(state)
        if platform is not None and platform.kind == "gcp":
            output.note(_elsewhere(platform))
        _check(target, found)
        start = 0.0 if since is None else time.time() - since
        with contextlib.suppress(KeyboardInterrupt) if follow else contextlib.nullcontext():
            _print(output, target, merged(found.streams(start)))
            while follow:
                _wait()
                _print(output, target, merged(found.streams(start, time.time())))
    return exits.DONE


def _wait() -> None:
    """Until the next look. A reader that closes its end of the pipe ends the command, though nothing is written."""
    output = select.poll()
    output.register(sys.stdout, 0)
    if output.poll(LOOK * 1000):
        leave()


def _print(output: Output, target: str, entries: Iterable[Entry]) -> None:
    colours = output.out.is_terminal and not output.out.no_color
    shown = (entry for entry in entries if entry.is_of(target))
    while some := list(itertools.islice(shown, _AT_ONCE)):
        write("".join(as_line(one) if output.as_json else as_text(one, colours=colours) for one in some))


def _check(target: str, found: ChainLogs) -> None:
    """Raises ChangeoverError for a name that no log has."""
    if target and target not in (known := found.names()):
        raise fail(
            f"no instance, tier or part of this chain is called {target}",
            state=f"There are: {', '.join(sorted(known))}.",
            next="Folders of instances that ended long ago are deleted: `keep` of the chain file says how many stay.",
        )


def _platform(state: Path) -> PlatformSettings | None:
    try:
        return chain_files.read_chain(state / chain_files.COPY, stored=True)[0].chain.platform
    except ChangeoverError:  # no chain is up, or its file is damaged: the logs are there all the same
        return None


def _elsewhere(platform: PlatformSettings) -> str:
    read = (
        f'gcloud logging read \'resource.type="gce_instance" AND '
        f'labels."compute.googleapis.com/resource_name"="VM"\' --project {platform.project} --freshness 1h'
    )
    return f"The instances are VMs, and their logs are not on this machine. With the Ops Agent on them: {read}"
