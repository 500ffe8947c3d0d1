"""The configuration of a relay: what its command line sets, with the limits and times that it does not."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path

from changeover.model.control_paths import spellings
from changeover.model.relay_defaults import RELAY

MIB = 1024 * 1024


def address(text: str) -> tuple[str, int]:
    """`127.0.0.1:8080` -> ("127.0.0.1", 8080). Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"an address is needed, such as 127.0.0.1:8080, not {text!r}")
    return host.strip("[]"), int(port)


Networks = tuple[IPv4Network | IPv6Network, ...]
LOOPBACK = ("127.0.0.0/8", "::1/128")


def networks(texts: Sequence[str]) -> Networks:
    """`["10.0.0.0/8"]` as networks. Raises ValueError."""
    return tuple(map(ip_network, texts))


def is_among(peer: bytes, networks: Networks) -> bool:
    """Whether that address is in one of them. A peer without one, over a Unix socket, is on this machine."""
    address = ip_address(peer.decode() or "127.0.0.1")
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:  # at a listener for both families
        address = address.ipv4_mapped
    return any(address in network for network in networks)


def hidden(paths: Sequence[str]) -> re.Pattern[bytes] | None:
    """Every spelling of these paths. Raises ValueError."""
    if bad := [path for path in paths if not path.startswith("/") or not path.isprintable()]:
        raise ValueError(f"a path begins with a slash, such as /readyz, and not {bad[0]!r}")
    return re.compile(spellings(paths).encode()) if paths else None


@dataclass(frozen=True)
class RoutePattern:
    """Requests of one method whose path is `path`, or below it."""

    method: bytes
    path: bytes

    @classmethod
    def parse(cls, text: str) -> RoutePattern:
        """`POST /upload` -> RoutePattern. Raises ValueError."""
        method, space, path = text.partition(" ")
        if not space or not method.isalpha() or not path.startswith("/") or not path.isprintable() or " " in path:
            raise ValueError(f"a method and a path are needed, such as 'POST /upload', not {text!r}")
        return cls(method.upper().encode(), path.encode())

    def matches(self, method: bytes, path: bytes) -> bool:
        return method == self.method and (
            path == self.path or path.startswith(self.path if self.path.endswith(b"/") else self.path + b"/")
        )


@dataclass(frozen=True)
class Pooling:
    """Times of a connection to the upstream, in seconds."""

    connect: float = 2.0
    """Until it is established."""
    idle: float = RELAY.connection_idle
    """That it stays in the pool between two requests."""
    life: float = RELAY.connection_life
    """After which no request is sent on it, so that the server behind can be drained."""


@dataclass(frozen=True)
class RelayTiming:
    """Seconds."""

    head: float = 30.0
    """For a head to arrive, from its first byte on."""
    idle: float = 75.0
    """That a client's connection may idle: longer than the pools of the proxies in front, so that they close first."""
    body: float = 120.0
    """Without a byte: of a body, from a client; of a response, from the upstream."""
    linger: float = 2.0
    """That a client which is still sending has to see the response (RFC 9112, section 9.6)."""
    cancel: float = 2.0
    """For cancelling the upload of a client that is gone. What is not cancelled expires."""
    sweep: float = 1.0
    """Between two checks of the other times."""


@dataclass(frozen=True)
class RelayConfig:
    """Sizes in bytes, times in seconds."""

    upstream: tuple[str, int]
    segmented: tuple[RoutePattern, ...] = ()
    """Routes whose bodies go to the upstream in segments."""
    replayed: tuple[RoutePattern, ...] = ()
    """Routes whose application does nothing before a body is whole: one that was not sent completely is sent again."""
    pooling: Pooling = field(default_factory=Pooling)
    timing: RelayTiming = field(default_factory=RelayTiming)
    budget: int = RELAY.budget
    """For the bytes of all bodies that are held and not acknowledged."""
    segment_from: int = 64 * 1024
    """A smaller body goes to the upstream as it is: it is in flight for milliseconds, which every drain waits for."""
    segment_size: int = MIB
    """Bytes that are sent as a segment while more are to come: the smaller, the sooner a slow upload is stored."""
    max_held: int = 16 * MIB
    """By one body."""
    max_spool: int = 64 * MIB
    """Of a streamed body that is kept in order to be sent again."""
    max_spools: int = 64 * MIB
    """Of all such bodies together: they lie in the folder of temporary files, which may be memory."""
    patience: float = RELAY.patience
    """Without progress, after which the relay gives an upload up."""
    lame_duck_file: Path | None = None
    """While it exists, every response closes its connection, and /readyz answers 503."""
    proxy_protocol: bool = False
    """Every connection begins with a PROXY header, which names the client."""
    proxies: Networks = field(default_factory=lambda: networks(LOOPBACK))
    """Peers that may send a PROXY header, beside those of Unix sockets. The connections of others are closed."""
    trusted_peers: Networks | None = None
    """Peers whose forwarded headers pass; None: those of every peer."""
    hidden: re.Pattern[bytes] | None = None
    """Paths at which the relay itself answers 404, in every spelling."""
    via: bytes = field(default_factory=lambda: b"1.1 changeover-%b" % os.urandom(4).hex().encode())
    """The name of this relay in `Via` (RFC 9110, section 7.6.3)."""
