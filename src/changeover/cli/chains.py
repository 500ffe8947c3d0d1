"""The chain that a command acts on: its file, and the chain wired to its platform, hops and routers."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from changeover import chain_files, wiring
from changeover.cli.chain_changes import check_fixed, check_same_tiers, check_sizes_of_moving
from changeover.cli.rendering.output import Output
from changeover.engine.journal.journal import Journal
from changeover.engine.journal.lease import KEEPER
from changeover.model.errors import ChangeoverError, fail
from changeover.platforms.local import orphans


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
        next="Name one with -f. `changeover init` writes one, and `changeover demo` shows an example.",
    )


def running(given: Path | None, state: Path) -> wiring.Wired:
    """The chain of a file, which must be up. Raises ChangeoverError if it is down or the file does not fit it."""
    if not (state / "chain.yaml").exists():
        raise not_up(state)
    found = wiring.wire(chain_file(given, state), state)
    as_it_is = chain_files.read_chain(state / "chain.yaml", stored=True)[0].chain
    with contextlib.closing(found.journal()) as journal:
        if not journal.is_up():
            raise not_up(state)
        check_same_tiers(found.chain, as_it_is)
        check_fixed(found.chain, as_it_is)
        holder = journal.holder()
        if holder is None or holder.purpose == KEEPER or not holder.is_alive():
            check_sizes_of_moving(found.chain, as_it_is, journal)
    return found


def as_it_runs(state: Path, given: Path | None = None) -> wiring.Wired | None:
    """The chain as a command last changed it, from the copy in its state folder; None if no chain was ever started.

    A `given` file must have the same tiers. Its other changes take effect with the next `roll`.
    """
    if given is not None:
        chain_files.read_chain(given)
    if not (state / "chain.yaml").exists():
        return None
    found = wiring.wire(state / "chain.yaml", state)
    if given is not None:
        check_same_tiers(chain_files.read_chain(given)[0].chain, found.chain)
    return found


def stored_journal(state: Path) -> Journal:
    """The journal of a chain that was started once, up or not. Raises ChangeoverError."""
    if not (state / "journal.db").exists():
        raise fail(f"no journal in {state}", next="Name the chain's folder with --state.")
    return wiring.open_journal(state)


def note_changes(output: Output, found: wiring.Wired, targets: Mapping[str, str]) -> None:
    """Print what is added to configurations of the user's own. `targets`: tier -> template."""
    for tier, changes in found.changes(targets).items():
        for change in changes:
            output.note(f"Added to template {targets[tier]} of tier {tier}: {change}")


def refuse_orphans(state: Path) -> None:
    """Raises ChangeoverError where processes run that were started for this folder, which has no record of them."""
    if left := orphans.find(state):
        raise fail(
            f"{state} has no record of a chain, and {len(left)} processes that were started for it still run: "
            + ", ".join(map(str, left)),
            state="They go on as they are. Was the state folder deleted?",
            next="`changeover down --orphans` ends them.",
        )


def not_up(state: Path) -> ChangeoverError:
    """The error of a command that needs a chain that is up."""
    return fail(
        f"no chain is up in {state}",
        next="Start it with `changeover up -f FILE`, or name its folder with --state.",
    )
