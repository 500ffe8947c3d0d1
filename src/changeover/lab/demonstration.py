"""What a demonstration of a rule is: the servers of its example, what happens to them, and the requests meanwhile.

Times of an example are divided by `scale`, those of the requests too: of the 430 s of a 50 MB upload at 1 Mb/s are left
4.3 s at a scale of 100. Servers that take whole seconds get them rounded up.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from changeover.audit.assumptions import Assumptions

if TYPE_CHECKING:
    from changeover.lab.stage import Stage


class Kind(StrEnum):
    """The software of a server."""

    NGINX = "nginx"
    HAPROXY = "haproxy"
    ENVOY = "envoy"
    APP = "app"


class Happening(StrEnum):
    """What happens to the first server while requests are in flight."""

    NOTHING = "nothing"
    STOP = "it is stopped the way its unit would stop it"
    RELOAD = "it is reloaded"
    REPLACE = "it is reloaded, and its old workers are stopped after the window that a rollout has"


@dataclass(frozen=True)
class Server:
    """A server of the example, and the file that configures it."""

    kind: Kind
    file: str


@dataclass(frozen=True)
class Demonstration:
    """`servers`: the one that something happens to first; requests go to the last. `how` is a clause of the report."""

    rule: str
    how: str
    servers: tuple[Server, ...]
    happens: Happening
    traffic: Callable[[Stage], Awaitable[None]]
    scale: float = 100.0
    besides: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Files that the example does not have, and its servers need."""
    bad_files: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    good_files: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Files in place of the rule's examples: the same fault of another software."""
    good: tuple[str, ...] = ()
    """Files of the bad example that are taken from the good one, where the rule finds several things in the bad one."""
    counts: str = ""
    """What is counted in place of lost requests, as `uploads carried out twice`."""
    line: int | None = None
    """Port of the example that is reached over a line with latency: a request can meet a closing connection."""
    latency: float = 0.02
    """Seconds that the line takes in each direction."""
    defaults: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """By file: settings that are absent from the example and have a default, which is a time and therefore scaled too.
    They stand after the text that is the key's second half: `edge.conf:keepalive 32;`."""

    def times(self, asked: Assumptions) -> Times:
        return Times(asked, self.scale)


@dataclass(frozen=True)
class Times:
    """What the example assumes, at the scale of the demonstration."""

    asked: Assumptions
    scale: float

    @property
    def upload(self) -> int:
        """Bytes: as much less as time is shorter, so that the client's rate stays."""
        return int(self.asked.upload / self.scale)

    @property
    def rate(self) -> float:
        """Bytes per second of the slowest client."""
        return self.asked.client_rate / 8

    @property
    def app_time(self) -> float:
        """Seconds that the application takes."""
        return self.asked.app_time / self.scale


_NGINX_TIME = re.compile(r"\b(\w+_time(?:out)?)(\s+)(\d+)(ms|s|m|h|d)?(\s*;)")
_HAPROXY_TIME = re.compile(r"^(\s*(?:hard-stop-after|timeout\s+\S+)\s+)(\d+)(ms|s|m|h|d)?()\s*$", re.MULTILINE)
_ENVOY_TIME = re.compile(r"\b(\w+_timeout|timeout|max_stream_duration):(\s*)(\d+)s\b")
_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SECONDS = {
    *("--graceful-timeout", "--timeout-graceful-shutdown", "--workers-kill-timeout"),
    *("--timeout", "-t", "--timeout-keep-alive"),
}


def scaled_nginx(text: str, scale: float) -> str:
    """With the times of directives that are named `…_time` or `…_timeout` divided."""
    return _NGINX_TIME.sub(lambda m: f"{m[1]}{m[2]}{_milliseconds(m[3], m[4] or 's', scale)}ms{m[5]}", text)


def scaled_haproxy(text: str, scale: float) -> str:
    """With `hard-stop-after` and every `timeout` divided."""
    return _HAPROXY_TIME.sub(lambda m: f"{m[1]}{_milliseconds(m[2], m[3] or 'ms', scale)}ms", text)


def scaled_envoy(text: str, scale: float) -> str:
    """With every timeout divided."""
    return _ENVOY_TIME.sub(lambda m: f"{m[1]}:{m[2]}{int(m[3]) / scale:g}s", text)


def scaled_words(words: tuple[str, ...], scale: float) -> tuple[str, ...]:
    """A command line of an application server, with its times divided and rounded up to whole seconds."""
    found = list(words)
    for number, word in enumerate(words[:-1]):
        if word in _SECONDS and words[number + 1].isdigit():
            found[number + 1] = str(math.ceil(int(words[number + 1]) / scale))
    return tuple(found)


def _milliseconds(number: str, unit: str, scale: float) -> int:
    return max(1, round(int(number) * _UNITS[unit] / scale))
