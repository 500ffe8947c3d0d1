"""One running member of a tier, what is in flight on it, and what it takes to launch one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from changeover.kit.human import human_bytes
from changeover.model.readiness import Readiness

if TYPE_CHECKING:  # annotations alone: the agent has no memory to spare for pydantic
    from changeover.model.process_settings import SecretSource


@dataclass(frozen=True, order=True)
class Address:
    """Where something listens. Printed as `host:port`."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """`127.0.0.1:8443` -> Address. Raises ValueError on anything else."""
        host, _, port = text.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise ValueError("an address is needed, such as 127.0.0.1:8443 (port 0: any free one)")
        return cls(host, int(port))


@dataclass(frozen=True)
class Instance:
    """A member of a tier as its platform made it.

    `address` serves requests, `control` answers readiness and status (the same one where a hop has no second
    listener). `pid` and `born` (start time in clock ticks since boot, from /proc) name a process beyond doubt; a pid
    alone is reused. Both are None where instances are not local processes. `proxied`: it was started to
    find a PROXY header that names the client at the beginning of every connection to its address, and to pass that on
    in X-Forwarded-For. `readiness`: what it is asked; without a path, where its software always answers.
    """

    name: str
    tier: str
    template: str
    address: Address
    control: Address
    pid: int | None = None
    born: int | None = None
    directory: str = ""
    proxied: bool = False
    socket: str = ""
    """The path of the Unix socket at which it serves, in place of its address."""
    readiness: Readiness = field(default=Readiness(), repr=False)
    place: str = ""
    """The zone that it runs in, where its platform spreads the instances of a tier over several."""


@dataclass(frozen=True)
class Upload:
    """A request body in flight: bytes received so far, and expected in all if the client sent Content-Length."""

    received: int
    expected: int | None
    seconds: float

    @property
    def left(self) -> int | None:
        return None if self.expected is None else max(0, self.expected - self.received)


@dataclass(frozen=True)
class InFlight:
    """What a stop at this moment would break.

    `requests` is None where a hop sees no request boundaries (L4). `connections` counts what is open on the
    instance's own address, idle or not.
    """

    requests: int | None
    connections: int
    uploads: tuple[Upload, ...] = ()

    @property
    def busy(self) -> bool:
        """True while stopping could break a request: also an idle pooled connection may carry the next one."""
        return bool(self.requests) or self.connections > 0

    @property
    def weight(self) -> int:
        """How much there is to wait for: requests where they are known, else connections."""
        return self.requests if self.requests is not None else self.connections

    @property
    def bytes_left(self) -> int | None:
        """Bytes the uploads still expect; None when one of them did not say."""
        left = [upload.left for upload in self.uploads]
        return None if None in left else sum(n for n in left if n is not None)

    def __str__(self) -> str:
        """`2 uploads with 12.3 MB to come, 4 connections`."""
        parts = []
        if uploads := len(self.uploads):
            to_come = f" with {human_bytes(self.bytes_left)} to come" if self.bytes_left else ""
            parts.append(f"{uploads} upload{'s' * (uploads > 1)}{to_come}")
        if (others := (self.requests or 0) - uploads) > 0:
            parts.append(f"{others} {'other ' * bool(uploads)}request{'s' * (others > 1)}")
        if self.connections or not parts:
            parts.append(f"{self.connections} connection{'s' * (self.connections != 1)}")
        return ", ".join(parts)


@dataclass(frozen=True)
class DeathCost:
    """What the death of an instance broke, as its routers counted it.

    `broken`: requests that are known to have broken. `unknown`: what could not be known, and why; empty: everything is.
    """

    broken: int = 0
    unknown: str = ""

    @property
    def is_nothing(self) -> bool:
        """Whether it is known that no request broke."""
        return not (self.broken or self.unknown)

    def __str__(self) -> str:
        """`2 requests broken`, `unknown whether requests broke: its routers do not count them`."""
        if self.unknown and not self.broken:
            return f"unknown whether requests broke: {self.unknown}"
        known = f"{self.broken} request{'s' * (self.broken != 1)} broken"
        return f"at least {known}: {self.unknown}" if self.unknown else known


PRIVATE = "private"
"""The folder of what only an instance may read, in that of the instance. It is deleted when the instance has ended."""


@dataclass(frozen=True)
class LaunchSpec:
    """What to run: written files (path below the instance's directory -> text), then `argv` in that directory.

    `check` is run first, in the same place; when it fails, its output is the reason the template is refused. There,
    `known_as` replaces paths of the written files with the user's own. `cwd`: a working directory other than the
    instance's. `env` is added to the environment that the platform gives it.
    """

    argv: tuple[str, ...] = field(repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    check: tuple[str, ...] = ()
    known_as: Mapping[str, str] = field(default_factory=dict)
    cwd: str = ""
    socket: str = ""
    """The Unix socket at which it listens, if it does."""
    inherits: bool = False
    """Whether it gets a socket that listens at its address, as descriptor 3."""
    secrets: Mapping[str, SecretSource] = field(default_factory=dict, repr=False)
    private: Callable[[], Mapping[str, str]] | None = field(default=None, repr=False)
    """Makes the files that only the instance may read: name below its folder `PRIVATE` -> text. Raises CannotStart."""
    private_to: str = ""
    """Their account, where this program runs as root."""
    umask: int = 0o022
    user: str = ""
    nofile: int | None = None
