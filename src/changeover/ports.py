"""The ports between the engine and the world. Small on purpose; extra powers are capability protocols of their own.

A method that cannot find out raises `Unknown` with what it saw. Unknown is never reported as a value: whoever asks
decides what not knowing means, and in a rollout it means waiting.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from signal import Signals
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:  # annotations alone: what catches `Unknown` need not load the model
    import httpx

    from changeover.model.chain import Tier
    from changeover.model.chainfile import ParsedChain
    from changeover.model.guard import RequestCounts
    from changeover.model.hop_traits import HopTraits, KnownHops
    from changeover.model.instance import Address, InFlight, Instance, LaunchSpec


class Unknown(Exception):
    """The world did not answer, or not in a way that can be trusted. The text says who and what."""


class CannotStart(Exception):
    """An instance could not be launched; the text is the reason as its own software put it."""


@dataclass(frozen=True)
class LaunchContext:
    """Where an instance stands: its tier, the tier behind it, and the files it shares with others."""

    instance: Instance
    tier: Tier
    outermost: bool
    """Whether clients connect to its tier."""
    shared: str
    """A directory that all instances of the chain share."""
    lame_duck: str
    """The file that exists while the instance must answer that it is not ready."""
    tls: str
    """A directory with `edge.pem` and `edge.key`."""
    inner: Address | None
    """The stable address of the tier behind it; None at the last tier, and where it balances over that tier itself."""
    inner_tier: Tier | None
    inner_traits: HopTraits | None
    """Of the tier behind it; None at the last tier."""
    membership: str
    """The file that lists the members of the tier behind it, where it balances over that tier itself."""


class Hop(Protocol):
    """The software that a tier runs."""

    traits: ClassVar[HopTraits]

    def __init__(self, client: httpx.AsyncClient) -> None:
        """`client` asks control addresses."""

    def launch(self, settings: Any, context: LaunchContext) -> LaunchSpec:
        """What to run for an instance in that context. `settings` is a template, as `traits.settings` parsed it."""

    async def ready(self, instance: Instance) -> bool:
        """Whether the instance says that it may get traffic. No answer is no."""

    async def lame_duck(self, instance: Instance, on: bool) -> None:
        """Beyond the lame-duck file: make it shed pooled connections, or stop doing so. Raises Unknown."""

    async def in_flight(self, instance: Instance) -> InFlight:
        """What would break if it stopped now. Raises Unknown."""


@dataclass(frozen=True)
class Membership:
    """What the routers of a tier say of one instance.

    `admitted`: every one of them sends it new requests; `removed`: none of them can. Neither: it differs, or one did
    not say; `who` then names the first that does not agree, and `silent` is true if that one did not answer at all.
    `sessions`: what they hold open to it, if they know. `weight`: the one that all of them have for it, if they agree.
    """

    admitted: bool
    removed: bool
    who: str = ""
    silent: bool = False
    sessions: int | None = None
    weight: int | None = None


class Router(Protocol):
    """Whoever holds the membership list of a tier."""

    async def open(self) -> None:
        """Bring the membership list into being, empty, where there is none. Raises Unknown."""

    async def admit(self, instance: Instance, weight: int) -> None:
        """Begin to send it traffic; a router that cannot weigh takes no notice of the weight. Raises Unknown."""

    async def remove(self, instance: Instance) -> None:
        """Begin to send it nothing new; leave alone what is in flight. Raises Unknown."""

    async def membership(self, names: frozenset[str]) -> Mapping[str, Membership]:
        """What every router says of each of these names, right now. Raises Unknown when none answers."""

    async def forget(self, name: str) -> None:
        """Drop what is kept of an instance that is gone. Raises Unknown."""


@runtime_checkable
class CanWeigh(Protocol):
    """A router that can give instances different shares of the requests (or connections, where it sees no requests)."""

    weighs: ClassVar[Literal["requests", "connections"]]

    async def weigh(self, instance: Instance, weight: int) -> None:
        """Give it that weight, 1 to 256, in proportion to the weights of the others. Raises Unknown."""


@runtime_checkable
class RoutesInward(Protocol):
    """A hop that balances over the tier behind it by itself, instead of through that tier's load balancer."""

    def router(self, tier: Tier, membership: str, nodes: Nodes) -> Router:
        """The router of the tier behind, spread over `nodes`, with its member list kept in `membership`."""


@runtime_checkable
class RoutesFromOutside(Protocol):
    """A hop whose software can also route a tier without being a tier of the chain: `router` in a chain file."""

    def external_router(self, tier: Tier, settings: Any, ready_path: str | None, membership: str) -> Router:
        """The router that `settings` describe, with its member list kept in `membership` where it has no other place.

        `ready_path` is where instances of the tier answer readiness at the address that serves requests, if they do.
        """


@runtime_checkable
class CountsRequests(Protocol):
    """A hop that counts the requests it sends to each instance of the tier behind it: `source: router` of a guard."""

    async def request_counts(self, tier: str, nodes: Nodes) -> Mapping[str, Mapping[str, RequestCounts]]:
        """Node -> instance -> counts, from all `nodes`. Raises Unknown when one of them does not answer."""


@runtime_checkable
class BuffersToDisk(Protocol):
    """A hop that can store whole request bodies on the disk of an instance."""

    def disk_bytes(self, settings: Any) -> int:
        """The most that bodies take on the disk of an instance of this template."""


@runtime_checkable
class NeedsSoftware(Protocol):
    """A hop whose software must be installed beside this program."""

    def check_software(self, templates: Collection[Any]) -> None:
        """Raises ChangeoverError, with what to install, where it is missing for one of a tier's templates."""


@runtime_checkable
class RendersConfiguration(Protocol):
    """A hop whose software also runs outside of chains: `changeover render KIND` prints the configuration it needs."""

    @classmethod
    def render(cls, parsed: ParsedChain, hops: KnownHops, serving: Serving) -> dict[str, Any]:
        """Its configuration as a router of this chain's tiers, with the instances that serve now."""


Serving: TypeAlias = "Mapping[str, Mapping[str, tuple[Address, int]]]"
"""Tier -> instance -> its address and its weight."""


class Preview(Protocol):
    """An address of its own at which the new colour of a tier is reached before the switch."""

    async def show(self, instances: Collection[Instance]) -> bool:
        """Send what comes there to these, and begin nothing new at anybody else; whether anybody is left in its list.

        Raises Unknown until all of these are seen to be shown.
        """


class Nodes(Protocol):
    """The instances of a routing tier that carry traffic at the moment of the call."""

    def __call__(self) -> tuple[Instance, ...]: ...


class Platform(Protocol):
    """Where instances and load balancers come from."""

    async def open(self, *, fresh: bool) -> None:
        """Bring up what instances stand behind: load balancers, certificates, folders; what is up stays as it is.

        `fresh` forgets what is left of instances of an earlier run. Membership lists are empty after this; unless it
        was fresh, what is up is not whole before `is_whole`.
        """

    def is_whole(self) -> None:
        """Take note that all members were admitted again. Whoever was killed before this leaves it to the next one."""

    def is_open(self) -> bool:
        """Whether what `open` brings up is there, and whole."""

    def entry(self, tier: str) -> Address:
        """The stable address through which a tier is reached; a router's outside of the chain, where it has one."""

    def router(self, tier: Tier) -> Router:
        """The tier's own load balancer."""

    def preview(self, tier: Tier) -> Preview | None:
        """The tier's preview, where it is to have one."""

    def recorded(self, name: str) -> Instance | None:
        """The record of an instance, running or not."""

    async def create(self, name: str, tier: Tier, template: str) -> Instance:
        """Launch it; the same name twice is one instance. Raises CannotStart."""

    def gone(self, instance: Instance) -> str | None:
        """Why it no longer exists, in a few words; None while it does."""

    async def lame_duck(self, instance: Instance, on: bool) -> None:
        """Put the lame-duck file in its place, or take it away."""

    async def stop(self, instance: Instance, signal: Signals) -> None:
        """Send the signal and return; `gone` tells when it took effect."""

    async def kill(self, instance: Instance) -> None:
        """End it and everything it started, now, and forget it."""

    async def close(self) -> None:
        """Take down what `open` brought up, and every instance that is left, recorded or not."""
