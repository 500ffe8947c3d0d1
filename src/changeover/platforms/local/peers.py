"""Whose the connections to an instance are: those of its routers are waited for, and any other local process is named.

A process is a router if it is in the session that a router leads. A connection of which that is not known counts as one
of a router: from another machine, of a router outside of the chain, or of a process that this user may not look into.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import suppress
from math import inf
from pathlib import Path

from changeover.kit import process, sockets, tcp
from changeover.model.connections import Connection, Connections
from changeover.model.instance import Instance

_ROUTER, _OWN = "", "-"
"""In place of the words for another process: a router, and this process, which asks for the count."""
_LOOK = 1.0
"""Seconds for which a look at the descriptors of all processes holds: it is what costs most of a look at a chain."""


class Peers:
    """Finds who holds the other end of a connection, and remembers it for as long as the connection is open."""

    def __init__(self) -> None:
        self._known: dict[str, dict[int, str]] = {}
        """Instance -> inode of the other end -> whose it is."""
        self._since: dict[str, dict[tuple[str, int], float]] = {}
        """Instance -> the other end's address -> when a look first found the connection."""
        self._servers: dict[str, int | None] = {}
        """Instance -> the process that serves it, where that is a single one."""
        self._holders: dict[int, list[int]] = {}
        """Inode -> the processes that hold it."""
        self._looked = -inf

    def of(self, instance: Instance, routers: Collection[int] | None) -> Connections | None:
        """The connections to its address; None where the kernel does not show them.

        `routers`: the processes that lead the sessions of its routers; None: they are outside of the chain.
        """
        port = instance.address.port
        try:
            ends, others = tcp.connections(port, instance.address.host)
            if ends and instance.name not in self._servers:
                self._servers[instance.name] = self._single_server(instance)
        except OSError:
            return None
        pairs = [(end, others.get(end.other_port) if tcp.is_here(end.other_host) else None) for end in ends]
        # An end on this machine that no process holds any more waits for no answer.
        pairs = [(end, other) for end, other in pairs if not tcp.is_here(end.other_host) or (other and other.inode)]
        whose = self._whose(instance.name, [other for _, other in pairs if other], routers)
        ages = self._ages(instance.name, [end for end, _ in pairs])
        routed, foreign, waiting = [], Counter[str](), 0
        for end, other in pairs:
            owner = _ROUTER if other is None else whose[other.inode]
            if owner == _ROUTER:
                routed.append(Connection(end.quiet, end.answered, ages[end.other_host, end.other_port]))
            elif owner != _OWN:
                foreign[owner] += 1
                waiting += end.answered is False
        return Connections(tuple(routed), foreign, waiting, self._is_served_by_one(instance.name, ends))

    def _ages(self, instance: str, ends: Iterable[tcp.End]) -> dict[tuple[str, int], float]:
        now, known = time.monotonic(), self._since.get(instance)
        first = -inf if known is None else now
        since = {(end.other_host, end.other_port): first for end in ends}
        self._since[instance] = since | {at: when for at, when in (known or {}).items() if at in since}
        return {at: now - when for at, when in self._since[instance].items()}

    def _whose(self, instance: str, ends: Collection[tcp.End], routers: Collection[int] | None) -> dict[int, str]:
        known = self._known.get(instance, {})
        found = {end.inode: known[end.inode] for end in ends if end.inode in known}
        if new := [end for end in ends if end.inode not in known]:
            found |= dict.fromkeys(tcp.inodes_of([os.getpid()]) or (), _OWN)
            if routers is not None:
                found |= _others([end for end in new if end.inode not in found], routers)
        self._known[instance] = {end.inode: found.get(end.inode, _ROUTER) for end in ends}
        return self._known[instance]

    def _is_served_by_one(self, instance: str, ends: Iterable[tcp.End]) -> bool:
        """Whether the process that listens alone has accepted all connections, too."""
        pid = self._servers.get(instance)
        held = None if pid is None else tcp.inodes_of([pid])
        return held is not None and all(end.inode in held for end in ends if end.inode)

    def _single_server(self, instance: Instance) -> int | None:
        """The one process that listens at its address; None if there are several, or if that is not known."""
        if instance.pid is None or tcp.inodes_of(process.session_of([instance.pid])) is None:
            return None
        listening = tcp.listeners(instance.address.port)
        if time.monotonic() - self._looked > _LOOK or not listening <= self._holders.keys():
            self._holders, self._looked = tcp.holders(), time.monotonic()
        pids = {pid for inode in listening for pid in self._holders.get(inode, ())}
        return pids.pop() if len(pids) == 1 else None


def _others(ends: Collection[tcp.End], routers: Collection[int]) -> dict[int, str]:
    """Inode -> the process in words, for ends whose process is known to be no router."""
    pids = list(process.session_of(routers))
    held = tcp.inodes_of(pids)
    if held is None:
        return {}
    users = set()
    for pid in pids:
        with suppress(OSError):
            users.add(Path(f"/proc/{pid}").stat().st_uid)
    found = {}
    strangers = {end.inode: end for end in ends if end.inode not in held}
    for inode, owner in tcp.owners(strangers.values()).items():
        # It may have started since the sessions were read.
        routes = strangers[inode].uid in users if owner.pid is None else _session(owner.pid) in routers
        if not routes:
            found[inode] = str(owner)
    return found


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def at_socket(path: str) -> Connections | None:
    """The connections to a Unix socket; None where nothing listens at that path.

    The kernel shows neither whose they are nor whether they are idle, so each of them counts. A tier in front that is
    the router closes its idle ones when it removes an instance. The load balancer does not, and counts its sessions.
    """
    found = sockets.at_unix_socket(path)
    return None if found is None else Connections((Connection(quiet=0.0, answered=None),) * found)
