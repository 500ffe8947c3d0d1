"""What is in flight on an instance: the highest of its own count, the kernel's connections and its routers' sessions.

An instance of several processes may answer with the count of one, so no count is believed when another is higher. An
idle connection counts as well, because its client may send the next request on it; except where a router chooses an
instance for each request, has removed this one, and keeps its connections (`pools`). Such a connection is idle when the
instance sent the last byte some time ago, or at once when the instance has one process, which counts no request.

Refuses to count connections of processes that are no routers. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from changeover.model.connections import Connection, Connections
from changeover.model.instance import InFlight

SETTLED = 1.0
"""Seconds without a byte after which the count of an instance with one process includes a request that came with it;
and seconds after a confirmed removal within which a router's worker may still open a last connection."""


@dataclass(frozen=True)
class Witnesses:
    """The counts of one look at an instance; None: that witness is missing."""

    own: InFlight | None
    kernel: Connections | None
    sessions: int | None
    """Open from its routers, as they count them. Health checks are not among them."""
    checked_here: bool
    """Whether health checks arrive at the address that serves requests."""
    pools: bool
    """Whether its routers choose an instance for each request, and keep idle connections to one that they removed."""
    idle_after: float
    """Seconds without a byte after which an answered connection of a pool is idle: `drain.idle_after`."""
    removed_for: float = 0.0
    """Seconds since its routers confirmed its removal: a connection that they opened later is a health check."""

    @property
    def known(self) -> bool:
        """Whether there is any witness."""
        return not (self.own is None and self.held is None and self.sessions is None)

    @property
    def highest(self) -> InFlight:
        """What holds the instance. `connections` leaves out those that are known to carry nothing."""
        connections = max(self._own_connections, self.held or 0, self.sessions or 0)
        if self.own is None:
            return InFlight(None, connections)
        requests = self._own_requests
        uploads = self.own.uploads if requests else ()
        return replace(self.own, requests=requests, connections=connections, uploads=uploads)

    @property
    def differ(self) -> bool:
        """Whether one count is zero and another is not."""
        counts: list[int] = [count for count in (self.held, self.sessions) if count is not None]
        if self.own is not None:
            counts.append(max(self._own_requests or 0, self._own_connections))
        return len({count > 0 for count in counts}) > 1

    def __str__(self) -> str:
        """`the instance 2 requests, 0 connections; the kernel 3; its routers 0`."""
        counts = {"the instance": self.own, "the kernel": self.held, "its routers": self.sessions}
        return "; ".join(f"{source} {count}" for source, count in counts.items() if count is not None)

    @property
    def _own_requests(self) -> int | None:
        """Without those that others wait for: a connection carries one at a time."""
        if self.own is None or self.own.requests is None:
            return None
        return max(0, self.own.requests - (self.kernel.waiting if self.kernel else 0))

    @property
    def _own_connections(self) -> int:
        if self.own is None:
            return 0
        if self.kernel is None:
            return self.own.connections
        return 0 if self.pools else min(self.own.connections, len(self._open))

    @property
    def held(self) -> int | None:
        """The kernel's connections that hold the instance; None where it cannot tell them from health checks."""
        if self.kernel is None:
            return None
        if self.pools:
            return sum(map(self._carries, self._open))
        if self.sessions is not None and self.checked_here:
            return None
        return len(self._open)

    @property
    def _open(self) -> list[Connection]:
        routers = self.kernel.routers if self.kernel else ()
        return [connection for connection in routers if connection.age >= self.removed_for - SETTLED]

    def _carries(self, connection: Connection) -> bool:
        """Whether a request may be under way on a connection of a pool."""
        if connection.answered is False or not connection.quiet:
            return True
        counted = self.kernel is not None and self.kernel.one_process and self._own_requests == 0
        if connection.answered is None:
            return not counted or connection.quiet < SETTLED
        return not counted and connection.quiet < self.idle_after
