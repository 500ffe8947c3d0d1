"""The joined view: the hops that the files describe, how each is stopped, and which stands in front of which.

Hops of every software have the same few facts; a rule about one software asks for that one's class. What cannot be
joined is part of the view.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeVar

from changeover.audit.commands import Command
from changeover.audit.google.resources import Google
from changeover.audit.published import PublishedPort
from changeover.audit.setting import Setting
from changeover.conf.chain import ChainFile
from changeover.conf.place import Place

HopType = TypeVar("HopType", bound="Hop")
NO_CLOUD = Google(())
_LOCAL = {"127.0.0.1", "localhost", "::1", "[::1]"}
_EVERY = {"", "*", "0.0.0.0", "[::]", "::"}
_COMMON_PORTS = {80, 443}
"""Too many hops listen there for a port to identify one."""


@dataclass(frozen=True)
class Address:
    """`port` is None for a Unix socket, whose path is `host`, and where no port is given."""

    host: str
    port: int | None

    def __str__(self) -> str:
        return self.host if self.port is None else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        return self.host in _LOCAL or self.host.startswith("unix:")


@dataclass(frozen=True)
class Target:
    """Where a hop sends requests. `pool_idle`: how long it keeps an idle connection there; 0 if it keeps none."""

    name: str
    addresses: tuple[Address, ...]
    place: Place
    pool_idle: Setting[float]
    pool_lifetime: Setting[float]
    """How long a connection there serves requests, from its first one."""


@dataclass(frozen=True)
class Hop:
    """One hop. `idle`: how long it keeps a connection on which its client sends nothing."""

    name: str
    software: str
    place: Place
    listens: tuple[Address, ...]
    targets: tuple[Target, ...]
    idle: Setting[float]
    buffers: Setting[bool]
    """Whether it takes an upload in whole before it forwards it."""

    @property
    def sees_requests(self) -> bool:
        """A TCP proxy does not: it cannot end a connection between two requests."""
        return True

    @property
    def repeats_gets(self) -> bool:
        """Whether it sends a GET again whose connection broke before a response."""
        return True


@dataclass(frozen=True)
class Signal:
    """A signal that a stop sends, `at` seconds after its start. `name` is without SIG; `KILL` ends the list.

    The name `DRAIN` is a request that asks the software to drain, such as POST /healthcheck/fail of Envoy.
    """

    at: float
    name: str
    place: Place
    text: str
    whole: bool = False
    """Whether every process of the instance gets it, not only the main one."""


@dataclass(frozen=True)
class StopPath:
    """How an instance is stopped where it runs. `missing` is set where a command cannot be judged.

    `pod`: it is a container of a pod, whose time until SIGKILL K8S01 judges.
    """

    software: str
    object: str
    place: Place
    signals: tuple[Signal, ...]
    reload: Place | None = None
    """Where the configuration says how to reload it."""
    missing: str = ""
    pod: bool = False

    def wait(self, signal: Signal) -> float:
        """Seconds from the first signal to another."""
        return signal.at - self.signals[0].at


@dataclass(frozen=True)
class Link:
    """`front` sends requests to `inner` through `target`."""

    front: Hop
    inner: Hop
    target: Target
    how: str


@dataclass(frozen=True)
class View:
    hops: tuple[Hop, ...]
    stops: tuple[StopPath, ...]
    links: tuple[Link, ...]
    google: Google = NO_CLOUD
    commands: tuple[Command, ...] = ()
    chains: tuple[ChainFile, ...] = ()
    ports: tuple[PublishedPort, ...] = ()

    def of(self, kind: type[HopType]) -> Iterator[HopType]:
        """The hops of one software."""
        return (hop for hop in self.hops if isinstance(hop, kind))

    def stops_of(self, software: str) -> list[StopPath]:
        return [stop for stop in self.stops if stop.software == software]

    def in_front(self, hop: Hop) -> list[Link]:
        return [link for link in self.links if link.inner is hop]

    def behind(self, target: Target) -> Hop | None:
        """The hop that a target leads to; None if no given file describes it."""
        return self._inner.get(id(target))

    @cached_property
    def _inner(self) -> dict[int, Hop]:
        return {id(link.target): link.inner for link in reversed(self.links)}

    def server_of(self, target: Target) -> Hop | None:
        """The hop that answers on connections to a target: behind a TCP proxy, the one that this leads to."""
        found = self.behind(target)
        while found is not None and not found.sees_requests:
            found = self.behind(found.targets[0]) if len(found.targets) == 1 else None
        return found

    def buffered(self, hop: Hop) -> bool:
        """Whether every way to a hop leads through one that buffers uploads."""
        links = self.in_front(hop)
        return bool(links) and all(link.front.buffers.value is True or self.buffered(link.front) for link in links)

    @property
    def unjoined(self) -> list[tuple[Hop, Target]]:
        """Targets that no given file describes."""
        return [(hop, target) for hop in self.hops for target in hop.targets if self.behind(target) is None]


def joined(
    hops: tuple[Hop, ...], stops: tuple[StopPath, ...], order: tuple[str, ...] = (), google: Google = NO_CLOUD
) -> View:
    """Join hops by `order`, the files of a chain from the edge inward, and else by addresses."""
    links = [*_ordered(hops, order)]
    given = {id(link.target) for link in links}
    listening: dict[int | str, list[Hop]] = {}
    for hop in hops:
        for key in {_key(listen) for listen in hop.listens}:
            listening.setdefault(key, []).append(hop)
    for hop in hops:
        for target in hop.targets:
            if id(target) in given:
                continue
            near = {id(one): one for address in target.addresses for one in listening.get(_key(address), ())}
            found = [inner for inner in near.values() if inner is not hop and _leads_to(target, inner)]
            if len(found) == 1 and not _reaches(links, found[0], hop):
                links.append(Link(hop, found[0], target, f"address {target.addresses[0]}"))
    return View(hops, stops, tuple(links), google)


def _ordered(hops: tuple[Hop, ...], order: tuple[str, ...]) -> Iterator[Link]:
    for outer, inner in pairwise(order):
        fronts = [hop for hop in hops if hop.place.file == outer]
        inners = [hop for hop in hops if hop.place.file == inner]
        for front in fronts:
            yield from (Link(front, inners[0], target, "--chain") for target in front.targets if inners)


def _key(address: Address) -> int | str:
    return address.host if address.port is None else address.port


def _leads_to(target: Target, hop: Hop) -> bool:
    wanted: dict[int | str, list[Address]] = {}
    for address in target.addresses:
        wanted.setdefault(_key(address), []).append(address)
    return any(_same(address, listen) for listen in hop.listens for address in wanted.get(_key(listen), ()))


def _same(address: Address, listen: Address) -> bool:
    if address.port is None or listen.port is None:
        return address == listen and address.host.startswith("unix:")
    if address.port != listen.port:
        return False
    return address.host == listen.host or (listen.host in _EVERY and address.port not in _COMMON_PORTS)


def _reaches(links: list[Link], start: Hop, goal: Hop) -> bool:
    """Whether requests from `start` already come to `goal`: a chain has no circle."""
    inner = [link.inner for link in links if link.front is start]
    return any(one is goal or _reaches(links, one, goal) for one in inner)
