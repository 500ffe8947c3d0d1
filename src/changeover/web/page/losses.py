"""Requests that broke, as the ledgers of a chain's probes have them: what the page marks on the axis of time.

A ledger is read once, and from then on only what was added to it. Refuses to hold a ledger in memory, or to parse rows
of requests that are ok.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from changeover.probe.records.ledger import END
from changeover.probe.records.row import LedgerRow
from changeover.probe.records.tally import moving_tier

LEDGERS = "ledgers"
"""Folder of a chain's ledgers, in its state folder."""
AT_ONCE = 32 << 20
"""Bytes that one look reads at most. A long ledger takes several looks."""
KEPT = 5000
"""Broken requests that are kept of each ledger; those after them are counted alone."""
_OK = b'"outcome":"ok"'  # in a string of JSON the quotes would be escaped
_ROW = TypeAdapter(LedgerRow)


@dataclass(frozen=True)
class Loss:
    """One request that broke. `due`, `at`: when it was to begin, and when it ended, in seconds since the epoch.

    `tier`: the one that was moving then.
    """

    due: float
    at: float
    kind: str
    outcome: str
    reason: str
    tier: str


@dataclass(frozen=True)
class Losses:
    """`more`: broken requests that are not kept. `behind`: a ledger is not read to its end yet.

    `unread`: the first line of each ledger that is no row, and ledgers that cannot be read.
    """

    found: Sequence[Loss] = ()
    more: int = 0
    behind: bool = False
    unread: Sequence[str] = ()


@dataclass
class _Read:
    inode: int
    offset: int = 0
    lines: int = 0
    found: list[Loss] = field(default_factory=list)
    more: int = 0
    unread: str = ""


class LossReader:
    """Reads the ledgers of one state folder."""

    def __init__(self, state: Path) -> None:
        self._folder = state / LEDGERS
        self._ledgers: dict[Path, _Read] = {}
        # The thread of a cancelled request goes on, so that two may read at once.
        self._reading = threading.Lock()

    def between(self, start: float, end: float) -> Losses:
        """The requests that broke and were due or in flight in that time, as reports count; the first end first."""
        with self._reading:
            return self._between(start, end)

    def _between(self, start: float, end: float) -> Losses:
        left, more, behind = AT_ONCE, 0, False
        found, unread = list[Loss](), list[str]()
        for path in sorted(self._folder.glob("*.jsonl")):
            try:
                about = path.stat()
                if about.st_mtime < start:
                    continue
                known = self._ledgers.get(path)
                if known is None or known.inode != about.st_ino or about.st_size < known.offset:
                    known = self._ledgers[path] = _Read(about.st_ino)
                behind = behind or about.st_size - known.offset > left
                left -= _read_on(path, known, left)
            except OSError as error:
                if path.is_symlink() and path.lstat().st_mtime > end:
                    continue  # a probe that began later, whose ledger lay elsewhere and is gone
                unread.append(f"{path.name}: {error.strerror}")
                continue
            more += known.more
            found += (one for one in known.found if start <= one.at and one.due <= end)
            if known.unread:
                unread.append(known.unread)
        return Losses(sorted(found, key=lambda one: one.at), more, behind, unread)


def _read_on(path: Path, known: _Read, most: int) -> int:
    """Read whole lines from where the last look ended; returns their bytes."""
    if most <= 0:
        return 0
    with path.open("rb") as file:
        file.seek(known.offset)
        piece = file.read(most)
    whole = piece[: piece.rfind(b"\n") + 1]  # a probe may be writing the next one
    known.offset += len(whole)
    for line in whole.splitlines():
        known.lines += 1
        if _OK in line or line.startswith(END) or (known.lines == 1 and b'"format"' in line):
            continue
        if len(known.found) >= KEPT:
            known.more += 1
            continue
        try:
            row = _ROW.validate_json(line)
        except ValidationError:
            known.unread = known.unread or f"{path.name}:{known.lines}: this line is not a row of a ledger"
            continue
        if row.outcome != "ok":
            known.found.append(
                Loss(row.scheduled, row.finished, row.kind, row.outcome, row.reason or "unknown", moving_tier(row))
            )
    return len(whole)
