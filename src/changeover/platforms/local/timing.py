"""How long the processes of the local platform may take. Seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LocalTiming:
    """Seconds. Tests pass shorter ones."""

    check: float = 20.0
    """For software to check its own configuration; Kong starts an interpreter for that."""
    balancer_start: float = 10.0
    """Until HAProxy must answer after its start."""
    runtime_api: float = 2.0
    """Until HAProxy's runtime API counts as silent."""
    routers: float = 0.02
    """For which the processes that route a tier are taken as known: one look at a thousand instances asks that often,
    and a new router takes longer to start."""


TIMING = LocalTiming()
