"""The probe's ledger while it grows: each look reads on where the last one ended, and keeps numbers by instance.

`changeover probe` writes it (`probe/row.py`). Of each row only the numbers of the guards are kept, some 25 bytes. A
half-written last line waits for its other half. A whole line that is no row makes the ledger unusable: it may have been
a broken request.
"""

from __future__ import annotations

import json
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Any

from changeover.model.revision import template_of
from changeover.ports import Unknown

FORMAT = 1
"""The version of the ledger's rows that is read here; a ledger without a header has the same rows."""
_PIECE = 4 << 20  # bytes read at once: a ledger that ran for hours is not held in memory
_REMEMBERED = 10_000  # broken requests of which the cause is kept, to be named in a reason; all are counted
_TAIL = 256  # bytes before the place where the last look ended, by which a file is known again


@dataclass
class Rows:
    """Rows in the order of their ends."""

    ended: array[float] = field(default_factory=lambda: array("d"))
    broken: array[int] = field(default_factory=lambda: array("b"))
    due_ms: array[float] = field(default_factory=lambda: array("d"))
    """From the time when the request was due; NaN for what is no GET."""
    sent_ms: array[float] = field(default_factory=lambda: array("d"))
    """From the time when it was sent."""

    def add(self, ended: float, broken: bool, due_ms: float, sent_ms: float) -> None:
        position = len(self.ended)
        if self.ended and ended < self.ended[-1]:
            position = bisect_right(self.ended, ended)
        for column, value in ((self.ended, ended), (self.due_ms, due_ms), (self.sent_ms, sent_ms)):
            column.insert(position, value)
        self.broken.insert(position, broken)

    def within(self, start: float, end: float) -> slice:
        """The rows that ended in [start, end)."""
        return slice(bisect_left(self.ended, start), bisect_left(self.ended, end))


@dataclass(frozen=True)
class Versions:
    """The versions that responses name. `named`: template -> its version; any other template is named as itself."""

    named: Mapping[str, str] = field(default_factory=dict)

    def of(self, revision: str) -> str:
        template = template_of(revision)
        return self.named.get(template, template)


AS_TEMPLATES = Versions()


@dataclass(frozen=True)
class Breakage:
    ended: float
    reason: str
    instance: str


class LedgerReader:
    """One ledger file, from its first line on. Reading blocks: call it outside of the event loop, and hold `lock`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        self.rows: dict[str, Rows] = defaultdict(Rows)
        """Keyed by instance; rows without an instance are under the empty name."""
        self.by_version: dict[str, Rows] = defaultdict(Rows)
        """Of the rows without an instance those that name a version, keyed by that."""
        self.newest = 0.0
        """When the last row read ended."""
        self._breakages: list[Breakage] = []
        self._offset = 0
        self._line = 0
        self._half = b""
        self._tail = b""
        self._spoilt = ""

    def read(self) -> None:
        """Read what was appended. Raises Unknown when the file cannot be read or a line of it makes no sense."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset - len(self._tail))
                if file.read(len(self._tail)) != self._tail:  # the inode is no proof: its number is soon used again
                    self._spoilt = self._spoilt or "it was replaced while it was being read"
                while not self._spoilt and (piece := file.read(_PIECE)):
                    self._offset += len(piece)
                    self._tail = (self._tail + piece)[-_TAIL:]
                    self._take(piece)
        except OSError as error:
            raise Unknown(f"the ledger {self.path} cannot be read: {error.strerror}") from error
        if self._spoilt:
            raise Unknown(f"the ledger {self.path} is not to be trusted: {self._spoilt}")

    @property
    def names_instances(self) -> bool:
        """Whether any response named its instance."""
        return any(self.rows)

    def causes(self, since: float) -> str:
        """The causes of broken requests, the most frequent first: `2 status 500 by runtime-v2-4, 1 timeout`."""
        found = Counter((one.reason, one.instance) for one in self._breakages if one.ended >= since)
        causes = [
            f"{n} {reason}" + (f" by {instance}" if instance else "") for (reason, instance), n in found.most_common(3)
        ]
        return ", ".join(causes + ["..."] * (len(found) > len(causes)))

    def _take(self, piece: bytes) -> None:
        *lines, self._half = (self._half + piece).split(b"\n")
        for line in lines:
            self._line += 1
            try:
                row = json.loads(line)
                if (self._line > 1 or not _is_header(row)) and not _is_end(row):
                    self._add(row)
            except (ValueError, KeyError, TypeError) as error:
                self._spoilt = f"line {self._line} is not a row ({type(error).__name__}: {error})"
                return

    def _add(self, row: dict[str, Any]) -> None:
        ended, scheduled, started = float(row["finished"]), float(row["scheduled"]), float(row["started"])
        instance, is_get, broken = str(row.get("instance", "")), row["kind"] == "get", row["outcome"] != "ok"
        due_ms, sent_ms = ((ended - since) * 1000 if is_get else nan for since in (scheduled, started))
        self.rows[instance].add(ended, broken, due_ms, sent_ms)
        if not instance and (version := row.get("version")):
            self.by_version[str(version)].add(ended, broken, due_ms, sent_ms)
        self.newest = max(self.newest, ended)
        if broken and len(self._breakages) < _REMEMBERED:
            self._breakages.append(Breakage(ended, str(row.get("reason", row["outcome"])), instance))


def _is_end(row: Any) -> bool:
    """Whether the line is the end line of a probe that was not killed."""
    return isinstance(row, dict) and row.keys() == {"ended", "rows"}


def _is_header(row: Any) -> bool:
    """Whether the first line is the header of a ledger. Raises ValueError for a format that is not known."""
    version = row.get("format") if isinstance(row, dict) else None
    if version not in (None, FORMAT):
        raise ValueError(f"the ledger has format {version}, and this program reads format {FORMAT}")
    return version is not None
