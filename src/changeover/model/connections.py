"""Connections to an instance as the kernel reports them, and whose they are. Refuses to judge what they carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf


@dataclass(frozen=True)
class Connection:
    """An open connection to an instance."""

    quiet: float
    """Seconds since a byte last passed; 0 while bytes are under way."""
    answered: bool | None
    """Whether the instance sent the last byte, or the client has sent none; None where the kernel cannot tell."""
    age: float = inf
    """Seconds since a look first found it; infinity at the first look."""


@dataclass(frozen=True)
class Connections:
    """All open connections to the address that serves an instance's requests."""

    routers: tuple[Connection, ...]
    """From its routers, and those of which it is not known whose they are."""
    others: Mapping[str, int] = field(default_factory=dict)
    """From processes that are no routers: the process in words, and how many it holds."""
    waiting: int = 0
    """Connections of `others` on which a request may wait for its answer."""
    one_process: bool = False
    """Whether a single process serves them, so that the instance's own count leaves out nothing."""
