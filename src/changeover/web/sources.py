"""What the page needs of the command line, as functions: this room lies below it, and must show the same numbers.

Refuses to know how a command finds its chain.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Data = Mapping[str, Any]
"""An object as `--json` prints it; docs/json.md describes each."""


@dataclass(frozen=True)
class Done:
    """The outcome of a command. `exit_code` None: it still works, as process `pid`."""

    exit_code: int | None
    pid: int
    data: Data


@dataclass(frozen=True)
class Sources:
    """`status` and `show` print the same with --json, `report` is the page of `show --html`.

    `history` gives the rollouts that it prints, from a number on: at most so many, the last ones. Each raises
    ChangeoverError where the command fails.

    `run` runs a command of this program on a state folder, in a process of its own that outlives the server.
    """

    status: Callable[[Path], Awaitable[Data]]
    history: Callable[[Path, int, int], Sequence[Data]]
    show: Callable[[Path, int], Data]
    report: Callable[[Path, int], str]
    run: Callable[[Path, Sequence[str]], Awaitable[Done]]
