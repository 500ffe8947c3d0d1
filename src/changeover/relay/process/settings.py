"""What a relay is told."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from changeover.model.relay_defaults import RELAY
from changeover.relay.outbound.upstream import Pooling

MIB = 1024 * 1024


def address(text: str) -> tuple[str, int]:
    """`127.0.0.1:8080` -> ("127.0.0.1", 8080). Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"an address is needed, such as 127.0.0.1:8080, not {text!r}")
    return host.strip("[]"), int(port)


@dataclass(frozen=True)
class Route:
    """Requests of one method whose path is `path`, or below it."""

    method: bytes
    path: bytes

    @classmethod
    def parse(cls, text: str) -> Route:
        """`POST /upload` -> Route. Raises ValueError."""
        method, space, path = text.partition(" ")
        if not space or not method.isalpha() or not path.startswith("/") or not path.isprintable() or " " in path:
            raise ValueError(f"a method and a path are needed, such as 'POST /upload', not {text!r}")
        return cls(method.upper().encode(), path.encode())

    def matches(self, method: bytes, path: bytes) -> bool:
        return method == self.method and (
            path == self.path or path.startswith(self.path if self.path.endswith(b"/") else self.path + b"/")
        )


@dataclass(frozen=True)
class Settings:
    """Sizes in bytes, times in seconds."""

    upstream: tuple[str, int]
    segmented: tuple[Route, ...] = ()
    """Whose bodies are handed inward in segments."""
    replayed: tuple[Route, ...] = ()
    """Whose application does nothing before a body is whole: one that was not sent completely may be sent again."""
    pooling: Pooling = field(default_factory=Pooling)
    budget: int = RELAY.budget
    """Of bytes that are held and not acknowledged, for all bodies together."""
    segment_from: int = 64 * 1024
    """A body with fewer bytes goes inward as it is: it is there for milliseconds, which every drain waits for."""
    enough: int = MIB
    """Bytes that make a segment while more are to come. One that its client sends slowly is sent on quickly."""
    most_held: int = 16 * MIB
    """By one body."""
    spool: int = 64 * MIB
    """Bytes of a body that is streamed through, and may be sent again, that are kept for that."""
    patience: float = RELAY.patience
    """Without progress, until a client is told that it cannot be done."""
    head_time: float = 30.0
    """For a head to come."""
    idle_time: float = 75.0
    """That a client's connection may idle: longer than the pools of the proxies in front, so that they close first."""
    body_time: float = 120.0
    """Without a byte of a body, from a client; and without one of an answer, from an application."""
    lame_duck_file: Path | None = None
    """While it exists, every answer closes its connection, and readiness is denied."""
    proxy_protocol: bool = False
    """Every connection begins with a PROXY header, which tells whose it is."""
    via: bytes = field(default_factory=lambda: b"1.1 changeover-%b" % os.urandom(4).hex().encode())
    """What it says of itself to the next hop (RFC 9110, section 7.6.3)."""
