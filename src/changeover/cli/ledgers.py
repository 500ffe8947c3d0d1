"""Where the ledgers of a chain's probes lie: in its state folder, or elsewhere with a link there.

Guards, reports and the page look into the state folder. A probe of a chain whose ledger lies elsewhere would otherwise
be one of which none of them knows. Refuses to copy a ledger: a copy would lack the rows that come later.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from changeover.probe.records.ledger import Ledger
from changeover.probe.records.row import RequestKind

LEDGERS = "ledgers"
"""Folder of a chain's ledgers, in its state folder."""


@dataclass(frozen=True)
class LedgerPlace:
    """The file of a ledger, and the state folder of the chain that it is about; None: of none."""

    path: Path
    state: Path | None

    def open(self, planned: Collection[RequestKind], note: Callable[[str], None]) -> Ledger:
        """Create the ledger. `note` gets a line where it cannot be linked. Raises ChangeoverError."""
        found = Ledger(self.path, planned)
        if self.state is not None and self.path.resolve().parent != (self.state / LEDGERS).resolve():
            link = new_ledger(self.state)
            try:
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(self.path.resolve())
            except OSError as error:
                note(f"guards, reports and the page do not know of this ledger: {link}: {error.strerror}")
        return found


def ledger_place(given: Path | None, state: Path | None) -> LedgerPlace:
    """`given`: the file that the user names. Without it and without a chain it is one of the current folder."""
    path = given or (Path(_name("changeover-probe-")) if state is None else new_ledger(state))
    return LedgerPlace(path, state)


def new_ledger(state: Path) -> Path:
    """A new file: a ledger is evidence and is never overwritten."""
    return state / LEDGERS / _name("")


def _name(prefix: str) -> str:
    return f"{prefix}{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.jsonl"
