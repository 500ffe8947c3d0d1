"""The chain that a command acts on: its file, and the chain wired to its platform, hops and routers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from changeover import wiring
from changeover.model.chain import Chain
from changeover.model.errors import ChangeoverError, fail


def chain_file(given: Path | None, state: Path) -> Path:
    """The chain file: the given one, the one the chain was started from, or chain.yaml. Raises ChangeoverError."""
    if given is not None:
        return given
    if (state / "journal.db").exists():
        journal = wiring.open_journal(state)
        with contextlib.closing(journal):
            known = journal.chain_file()
        if known is not None:
            return known
    here = Path("chain.yaml")
    if here.exists():
        return here
    raise fail(
        "no chain file is given, and the current folder has no chain.yaml",
        next="Name one with -f, such as -f examples/01-four-tiers/chain.yaml.",
    )


@asynccontextmanager
async def wired(file: Path, state: Path) -> AsyncIterator[wiring.Wired]:
    """A chain file wired, with an HTTP client that is open inside the `async with`."""
    async with wiring.client() as client:
        yield wiring.wire(file, state, client)


@asynccontextmanager
async def running(given: Path | None, state: Path) -> AsyncIterator[wiring.Wired]:
    """The same for a chain that must be up. Raises ChangeoverError if it is down or has other tiers than the file."""
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
    """Refuse other tiers than the chain was started with; templates, sizes and limits may change."""
    was, wanted = ([(t.name, t.kind) for t in chain.tiers] for chain in (running, given))
    if was != wanted:
        raise fail(
            f"the chain file has other tiers than the running chain: {_names(wanted)}; running: {_names(was)}",
            state="Nothing was changed.",
            next="Restore the tiers in the chain file, or take the chain down and up again.",
        )


def _check_same_previews(given: Chain, running: Chain) -> None:
    """Refuse another preview address than the load balancer has listened on since the chain started."""
    was, wanted = ({t.name: t.update.preview for t in chain.tiers} for chain in (running, given))
    if changed := [name for name in wanted if wanted[name] != was[name]]:
        raise fail(
            f"the chain file sets the preview of tier {changed[0]} to {wanted[changed[0]] or 'none'}; "
            f"the chain was started with {was[changed[0]] or 'none'}",
            state="Nothing was changed.",
            next="Restore `preview` in the chain file, or take the chain down and up again.",
        )


def _names(tiers: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in tiers)


@asynccontextmanager
async def as_it_runs(state: Path, given: Path | None = None) -> AsyncIterator[wiring.Wired | None]:
    """The chain as a command last changed it, from the copy in its state folder; None if no chain was ever started.

    A `given` file must have the same tiers. Its other changes take effect with the next `roll`.
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
