"""Options that every command shares, and the frame in which each runs: errors become exit codes here, once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from changeover import wiring
from changeover.cli.rendering.output import Output
from changeover.model.chain import Chain
from changeover.model.errors import ChangeoverError, fail
from changeover.ports import CannotStart, Unknown

FileOption = Annotated[
    Path | None,
    typer.Option("--file", "-f", help="The chain file. Without it: the one the chain was started from, or chain.yaml."),
]
StateOption = Annotated[Path, typer.Option("--state", help="Folder that holds the chain's state.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]


def run(as_json: bool, work: Callable[[Output], Coroutine[Any, Any, int]]) -> None:
    """Run a command's coroutine and leave with its exit code. SIGTERM ends it as Ctrl-C does: tidily."""
    output = Output(as_json=as_json)
    try:
        code = asyncio.run(_until_told(work(output)))
    except ChangeoverError as error:
        output.problem(error)
        code = error.exit_code
    except (Unknown, CannotStart) as error:
        failure = fail(str(error), next="`changeover status` shows what runs; the logs lie in the state folder.")
        output.problem(failure)
        code = failure.exit_code
    except OSError as error:
        failure = fail(
            error.strerror or str(error) or type(error).__name__,
            where=str(error.filename or ""),
            state="Nothing more was done; what serves goes on serving.",
            next="Give back the file or its permissions, or name another folder with --state.",
        )
        output.problem(failure)
        code = failure.exit_code
    except (KeyboardInterrupt, asyncio.CancelledError):
        stopped = fail(
            "stopped before it was done",
            state="What serves goes on serving; a rollout stays where it is until somebody carries it on.",
            next="Run the same command again, or `changeover resume`; `changeover status` shows where things are.",
        )
        output.problem(stopped)
        code = stopped.exit_code
    raise typer.Exit(code)


async def _until_told(work: Coroutine[Any, Any, int]) -> int:
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def chain_file(given: Path | None, state: Path) -> Path:
    """Which chain file is meant. Raises ChangeoverError when there is none to be found."""
    if given is not None:
        return given
    if (state / "journal.db").exists():
        journal = wiring.open_journal(state)
        with contextlib.closing(journal):
            known = journal.fact("file")
        if known:
            return Path(known)
    here = Path("chain.yaml")
    if here.exists():
        return here
    raise fail(
        "no chain file is named, and there is no chain.yaml here",
        next="Name one with -f, such as -f examples/01-four-tiers/chain.yaml.",
    )


@asynccontextmanager
async def wired(file: Path, state: Path) -> AsyncIterator[wiring.Wired]:
    """A chain joined to its world, with the HTTP client it asks with."""
    async with wiring.client() as client:
        yield wiring.wire(file, state, client)


@asynccontextmanager
async def running(given: Path | None, state: Path) -> AsyncIterator[wiring.Wired]:
    """The same for a chain that must be up. Raises ChangeoverError when it is not."""
    if not (state / "chain.yaml").exists():
        raise _not_up(state)
    async with wired(chain_file(given, state), state) as found:
        with contextlib.closing(found.journal()) as journal:
            if not journal.is_up():
                raise _not_up(state)
        as_it_is = wiring.read_chain(state / "chain.yaml")[0].chain
        _check_same_tiers(found.chain, as_it_is)
        _check_same_previews(found.chain, as_it_is)
        yield found


def _check_same_tiers(given: Chain, running: Chain) -> None:
    """A running chain's tiers are what they were at its start; templates, sizes and limits may change."""
    was, wanted = ([(t.name, t.kind) for t in chain.tiers] for chain in (running, given))
    if was != wanted:
        raise fail(
            f"the chain file has other tiers than the chain that is up: {_names(wanted)}; up are {_names(was)}",
            state="Nothing was changed.",
            next="Give back the tiers as they were, or take the chain down and up again.",
        )


def _check_same_previews(given: Chain, running: Chain) -> None:
    """The load balancer has listened where the chain was told to since its start."""
    was, wanted = ({t.name: t.update.preview for t in chain.tiers} for chain in (running, given))
    if changed := [name for name in wanted if wanted[name] != was[name]]:
        raise fail(
            f"the preview of tier {changed[0]} is {wanted[changed[0]] or 'gone'} in the chain file, and was "
            f"{was[changed[0]] or 'not there'} when the chain came up",
            state="Nothing was changed.",
            next="Put it back as it was, or take the chain down and up again.",
        )


def _names(tiers: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in tiers)


@asynccontextmanager
async def as_it_runs(state: Path, given: Path | None = None) -> AsyncIterator[wiring.Wired | None]:
    """The chain as it was last acted on, whatever its file says by now; None when there never was one.

    A file that is `given` must be one of that chain; what it says beyond that takes effect with the next `roll`.
    """
    if given is not None:
        wiring.read_chain(given)
    if not (state / "chain.yaml").exists():
        yield None
        return
    async with wired(state / "chain.yaml", state) as found:
        if given is not None:
            _check_same_tiers(wiring.read_chain(given)[0].chain, found.chain)
        yield found


def _not_up(state: Path) -> ChangeoverError:
    return fail(
        f"no chain is up in {state}",
        next="Start it with `changeover up -f FILE`, or name its folder with --state.",
    )
