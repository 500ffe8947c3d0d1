"""The joined view: the hops that the files describe, how each is stopped, and which stands in front of which.

Hops of every software have the same few facts; a rule about one software asks for that one's class. What cannot be
joined is part of the view.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeVar

from changeover.audit.commands import Command
from changeover.audit.google.resources import Google
from changeover.audit.published import PublishedPort
from changeover.audit.setting import Setting
from changeover.audit.stop_keys import StopKeys
from changeover.conf.chain import ChainFile
from changeover.conf.place import Place

HopType = TypeVar("HopType", bound="Hop")
NO_CLOUD = Google(())
_LOCAL = {"127.0.0.1", "localhost", "::1", "[::1]"}
_EVERY = {"", "*", "0.0.0.0", "[::]", "::"}
_COMMON_PORTS = {80, 443}
"""Too many hops listen there for a port to identify one."""


@dataclass(frozen=True, slots=True)
class Address:
    """`port` is None for a Unix socket, whose path is `host`, and where no port is given."""

    host: str
    port: int | None

    def __str__(self) -> str:
        return self.host if self.port is None else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        return self.host in _LOCAL or self.host.startswith("unix:")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a hop sends requests. `pool_idle`: how long it keeps an idle connection there; 0 if it keeps none.

    `waits`: how long it waits for a response; None where it sees no requests.
    """

    name: str
    addresses: tuple[Address, ...]
    place: Place
    pool_idle: Setting[float]
    pool_lifetime: Setting[float]
    """How long a connection there serves requests, from its first one."""
    waits: Setting[float] | None = None


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
    keys: StopKeys
    reload: Place | None = None
    """Where the configuration says how to reload it."""
    missing: str = ""
    pod: bool = False
    cut_short: bool = False
    """Whether a command that cannot be judged follows the signals; else only the time until SIGKILL is missing."""

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
        return self._fronts.get(id(hop), [])

    @cached_property
    def _fronts(self) -> dict[int, list[Link]]:
        found: dict[int, list[Link]] = {}
        for link in self.links:
            found.setdefault(id(link.inner), []).append(link)
        return found

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
        return id(hop) in self._buffered

    @cached_property
    def _buffered(self) -> set[int]:
        inward: dict[int, list[Hop]] = {}
        for link in self.links:
            inward.setdefault(id(link.front), []).append(link.inner)
        open_ways = {inner: len(links) for inner, links in self._fronts.items()}
        found: set[int] = set()
        ahead = [id(hop) for hop in self.hops if hop.buffers.value is True]
        passed = set(ahead)
        while ahead:
            for inner in inward.get(ahead.pop(), ()):
                open_ways[id(inner)] -= 1
                if not open_ways[id(inner)]:
                    found.add(id(inner))
                    if id(inner) not in passed:
                        passed.add(id(inner))
                        ahead.append(id(inner))
        return found

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
    inward: dict[int, list[Hop]] = {}
    for link in links:
        inward.setdefault(id(link.front), []).append(link.inner)
    listening: dict[Address | int, list[Hop]] = {}
    for hop in hops:
        for listen in dict.fromkeys(map(_listens_at, hop.listens)):
            listening.setdefault(listen, []).append(hop)
    near: list[Link] = []
    for hop in hops:
        for target in hop.targets:
            if id(target) in given:
                continue
            found = (next(filter(None, map(listening.get, _leads_to(one))), ()) for one in target.addresses)
            inners = {id(one): one for several in found for one in several}
            inners.pop(id(hop), None)
            if len(inners) == 1:
                near.append(Link(hop, next(iter(inners.values())), target, f"address {target.addresses[0]}"))
    for link in near:
        if not _reaches(inward, link.inner, link.front) and not _by_port_of_several(link, near):
            links.append(link)
            inward.setdefault(id(link.front), []).append(link.inner)
    return View(hops, stops, tuple(links), google)


def _by_port_of_several(link: Link, near: Sequence[Link]) -> bool:
    """Whether machines of different names have the port alone in common with the hop: it is at most one of them."""
    if set(link.target.addresses) & set(link.inner.listens):
        return False
    hosts = _hosts(link)
    others = [_hosts(one) for one in near if one.inner is link.inner and one.target is not link.target]
    return any(not hosts & one for one in others)


def _hosts(link: Link) -> set[str]:
    return {"localhost" if one.is_local else one.host for one in link.target.addresses}


def _ordered(hops: tuple[Hop, ...], order: tuple[str, ...]) -> Iterator[Link]:
    for outer, inner in pairwise(order):
        fronts = [hop for hop in hops if hop.place.file == outer]
        inners = [hop for hop in hops if hop.place.file == inner]
        for front in fronts:
            yield from (Link(front, inners[0], target, "--chain") for target in front.targets if inners)


def _listens_at(address: Address) -> Address | int:
    """The address, or its port alone where that identifies the hop."""
    if address.port is None or address.port in _COMMON_PORTS or address.host not in _EVERY:
        return address
    return address.port


def _leads_to(address: Address) -> Iterator[Address | int]:
    """What may listen there."""
    if address.port is not None:
        yield from (address, address.port)
    elif address.host.startswith("unix:"):
        yield address


def _reaches(inward: Mapping[int, Sequence[Hop]], start: Hop, goal: Hop) -> bool:
    """Whether requests from `start` already come to `goal`: a chain has no circle."""
    seen, ahead = {id(start)}, [start]
    while ahead:
        for one in inward.get(id(ahead.pop()), ()):
            if one is goal:
                return True
            if id(one) not in seen:
                seen.add(id(one))
                ahead.append(one)
    return False
