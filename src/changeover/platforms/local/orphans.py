"""Processes of a chain whose state folder was deleted under it, as `git clean` does: found by the home that each names.

Refuses to guess: only a process that was started for this very folder counts, or one that such a process started.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM

from changeover.kit import process

_GRACE = 10.0
"""Seconds from SIGTERM to SIGKILL."""
_LOOK = 0.05
"""Seconds between two looks at what was sent SIGTERM."""


@dataclass(frozen=True)
class Orphan:
    """A process without a record. `name`: the instance, `haproxy` or `keeper`."""

    name: str
    pid: int
    born: int
    home: Path

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid}, {process.command_line(self.pid)})"


def find(state: Path) -> list[Orphan]:
    """Everything that was started for that state folder and runs, whether the folder exists or not."""
    return sorted(_found(state.resolve()), key=lambda orphan: (orphan.name, orphan.pid))


def _found(state: Path) -> Iterator[Orphan]:
    for pid, home in process.homes(state):
        known = home.parent == state / "instances" or (home.parent == state and home.name in ("haproxy", "keeper"))
        if known and (born := process.start_time(pid)) is not None:
            yield Orphan(home.name, pid, born, home)


async def end(orphans: Sequence[Orphan]) -> None:
    """SIGTERM, and SIGKILL to what still runs after the grace. The keeper first: it replaces what ends."""
    for orphan in sorted(orphans, key=lambda one: one.name != "keeper"):
        process.send(orphan.pid, orphan.born, SIGTERM)
    deadline = time.monotonic() + _GRACE
    while time.monotonic() < deadline and any(process.is_alive(one.pid, one.born) for one in orphans):
        await asyncio.sleep(_LOOK)
    for home in {orphan.home for orphan in orphans}:
        await asyncio.to_thread(process.kill_all_of, home)
