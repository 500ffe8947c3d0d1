"""The ports between the engine and the world. Small on purpose; extra powers are capability protocols of their own.

A method that cannot find out raises `Unknown` with what it saw. Unknown is never reported as a value: whoever asks
decides what not knowing means, and in a rollout it means waiting.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from signal import Signals
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:  # annotations alone: what catches `Unknown` need not load the model
    from pydantic import BaseModel

    from changeover.model.chain import Tier
    from changeover.model.instance import Address, InFlight, Instance, LaunchSpec


class Unknown(Exception):
    """The world did not answer, or not in a way that can be trusted. The text says who and what."""


class CannotStart(Exception):
    """An instance could not be launched; the text is the reason as its own software put it."""


@dataclass(frozen=True)
class LaunchContext:
    """What an instance is told about where it stands: itself, the tier behind it, and where things lie.

    `inner` is the stable address of the tier it sends requests to, None for the last tier and for a hop that finds
    its members itself: in `membership`, asking each at `inner_ready_path`, on a port of its own if `inner_controlled`.
    `shared` is a directory that all instances of the chain see; `lame_duck` the file whose presence makes an instance
    answer `not ready`; `tls` a directory with `edge.pem` and `edge.key`.
    """

    instance: Instance
    tier: Tier
    outermost: bool
    shared: str
    lame_duck: str
    tls: str
    inner: Address | None
    inner_tier: Tier | None
    inner_ready_path: str
    inner_controlled: bool
    membership: str


class Hop(Protocol):
    """The software that a tier runs."""

    kind: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]
    """What a template of this kind may say."""
    ready_path: ClassVar[str]
    """Where `control` answers 200 while the instance may get traffic; load balancers ask there too."""
    own_control: ClassVar[bool]
    """Whether `control` is a listener of its own; otherwise it is `address`."""
    sees_uploads: ClassVar[bool]
    """Whether `in_flight` tells of every upload by itself."""
    takes: ClassVar[Literal["tls", "http", "bytes"]]
    """What comes to it as the first tier of a chain: TLS that it ends, HTTP in the clear, or bytes it passes on."""
    names_clients: ClassVar[bool]
    """Whether, as the first tier, it can do what `Instance.proxied` asks."""
    stop_signal: ClassVar[Signals]
    """The signal on which this software finishes what it has and ends."""

    def launch(self, settings: Any, place: LaunchContext) -> LaunchSpec:
        """What to run for an instance at that place."""

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
