"""What the software of a tier is asked where it runs, by kind: the same for the controller and for an agent.

A hop's module of questions imports no settings and no framework, and is imported when its kind is asked for: an agent
has 30 MB. Refuses to know how a tier is configured, started or stopped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from changeover.kit.direct_http import DirectClient, DirectResponse
    from changeover.model.instance import InFlight, Instance


class AsksControl(Protocol):
    async def __call__(
        self, client: DirectClient, method: str, instance: Instance, path: str, headers: Mapping[str, str] | None = None
    ) -> DirectResponse:
        """The response of the control address, with any status. Raises NoResponse."""


async def ask_control(
    client: DirectClient, method: str, instance: Instance, path: str, headers: Mapping[str, str] | None = None
) -> DirectResponse:
    return await client.request(method, f"http://{instance.control}{path}", headers=headers)


@dataclass(frozen=True)
class Questions:
    """How one kind of software is asked."""

    ready_path: str
    """Where it answers GET with 200 while it can take traffic, unless it is configured otherwise."""
    in_flight: Callable[[DirectClient, Instance, str], Awaitable[InFlight | None]]
    """What it counts at a place that `counts_at` is the usual one of; None: it counts nothing. Raises Unknown."""
    counts_at: str = ""
    """A path, or whatever else names the counters of this software."""
    ask: AsksControl = ask_control
    lame_duck: Callable[[DirectClient, Instance, bool], Awaitable[None]] | None = None
    """What a lame duck needs beyond its file. Raises Unknown."""
    own_control: bool = True
    """Whether it answers at an address of its own, and not at the one that serves requests."""
    takes_sockets: bool = False
    """Whether that address can be a Unix socket."""
    asked_by_path: bool = True
    """Whether the questions are requests to paths, which its configuration may have elsewhere."""


_MODULES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "nginx": ("nginx", "HTTP"),
        "nginx-stream": ("nginx", "STREAM"),
        "haproxy": ("haproxy", "HTTP"),
        "haproxy-tcp": ("haproxy", "STREAM"),
        "envoy": ("envoy", "QUESTIONS"),
        "kong": ("kong", "QUESTIONS"),
        "relay": ("relay", "QUESTIONS"),
        "app": ("app", "QUESTIONS"),
    }
)
KINDS = tuple(_MODULES)


def questions(kind: str) -> Questions:
    """Raises KeyError where there is no such kind."""
    folder, name = _MODULES[kind]
    found = getattr(import_module(f"changeover.hops.{folder}.questions"), name)
    assert isinstance(found, Questions)
    return found
