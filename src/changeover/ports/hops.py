"""The port to the software of a tier, and what some hops can do beyond it: each ability is a protocol of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    from changeover.kit.direct_http import DirectClient
    from changeover.model.chain import Chain, Tier
    from changeover.model.chainfile import ParsedChain
    from changeover.model.guard import RequestCounts
    from changeover.model.hop_traits import HopTraits, KnownHops
    from changeover.model.instance import Address, InFlight, Instance, LaunchSpec
    from changeover.model.readiness import Readiness
    from changeover.model.software import Missing
    from changeover.ports.routers import Router


@dataclass(frozen=True)
class InnerTier:
    """The tier behind the one of an instance."""

    tier: Tier
    traits: HopTraits
    address: Address | None
    """Its stable address; None where the tier in front balances over its instances itself."""
    membership: str = ""
    """The file that lists its members, where the tier in front balances over them."""


@dataclass(frozen=True)
class LaunchContext:
    """Where an instance stands: its tier, the tiers behind it, and the files it shares with others."""

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
    behind: tuple[InnerTier, ...]
    """The tiers behind it; none at the last tier. A route without `to` leads to the first one."""
    folder: str = ""
    """The folder of the chain file that its template was rolled from; empty: an older version started the template."""
    hidden_paths: tuple[str, ...] = ()
    """Of the first tier that reads HTTP: control paths of the tiers behind it, which no client may ask."""
    trusted_peers: tuple[str, ...] | None = None
    """Of the first tier that reads HTTP: the peers whose forwarded headers pass. None: its peers are tiers."""

    @property
    def inner(self) -> InnerTier | None:
        """The first tier behind it; None at the last tier."""
        return self.behind[0] if self.behind else None


class RunningHop(Protocol):
    """The software that a tier runs, as it is asked wherever it runs."""

    @property
    def traits(self) -> HopTraits: ...

    async def not_ready(self, instance: Instance, timeout: float) -> str:
        """Why the instance cannot take traffic: what was asked, and its answer within `timeout` s. Empty: it can."""

    async def lame_duck(self, instance: Instance, on: bool) -> None:
        """Beyond the lame-duck file: have it close pooled connections, or keep them again. Raises Unknown."""

    async def in_flight(self, instance: Instance) -> InFlight | None:
        """What a stop at this moment would break, as the instance counts it. Raises Unknown.

        None: it does not count, and the kernel and its routers are the only witnesses.
        """


class Hop(RunningHop, Protocol):
    """The software of a tier whose instances are processes of this machine."""

    traits: ClassVar[HopTraits]

    def __init__(self, client: DirectClient) -> None:
        """`client` asks control addresses."""

    def launch(self, settings: Any, context: LaunchContext) -> LaunchSpec:
        """What to run for an instance in that context. `settings` is a template, as `traits.settings` parsed it."""


@runtime_checkable
class PoolsInward(Protocol):
    """A hop that keeps its connections to the tier behind, so that new weights there take effect with new ones."""

    def connection_life(self, settings: Any) -> float:
        """Seconds for which it uses such a connection; 0 where it keeps none."""


@runtime_checkable
class BuffersToDisk(Protocol):
    """A hop that can store whole request bodies on the disk of an instance."""

    def disk_bytes(self, settings: Any) -> int:
        """The most that bodies take on the disk of an instance of this template."""


@runtime_checkable
class LearnsTemplates(Protocol):
    """A hop whose instances are asked as their template says."""

    def learn(self, templates: Mapping[str, Any]) -> None:
        """Every template of the tier, as `traits.settings` parsed it. Called once, before anything is asked."""


@runtime_checkable
class RenewsCertificates(Protocol):
    """A hop whose instances can take a certificate that was renewed on the disk, and close no connection for it."""

    async def renew(self, instance: Instance, now: float) -> Sequence[str]:
        """Have it serve its certificate as it is on the disk; returns what was renewed or refused, each in words.

        `now`: seconds since 1970. Called again and again, and does nothing while nothing changed. Raises Unknown.
        """


@runtime_checkable
class NeedsSoftware(Protocol):
    """A hop whose software must be installed beside this program."""

    def missing_software(self, templates: Collection[Any]) -> Iterable[Missing]:
        """What is not installed, and one of a tier's templates needs."""


@runtime_checkable
class NamesFiles(Protocol):
    """A hop whose templates name files or programs of this machine."""

    def missing_files(self, settings: Any, folder: Path) -> Iterable[str]:
        """What a template names and is not there, each in words. `folder` is that of the chain file."""


@runtime_checkable
class TakesConfiguration(Protocol):
    """A hop whose templates can hold a configuration of the user's own, instead of a generated one."""

    @classmethod
    def with_files(cls, settings: Any, tier: Tier, chain: Chain, folder: Path) -> Any:
        """The template with the text of every file that it names, from the `folder` of the chain file.

        A template that has the texts already is returned as it is. Raises ChangeoverError where a file cannot be read,
        or has what no tier can have.
        """

    @staticmethod
    def takes(settings: Any) -> Literal["tls", "http", "bytes"]:
        """What clients send to an instance of this template as the first tier."""

    def changes(self, settings: Any, context: LaunchContext) -> tuple[str, ...] | None:
        """What the hop adds to the user's configuration, each with its reason; None without a line of the user's."""


Serving: TypeAlias = "Mapping[str, Mapping[str, tuple[Address, int]]]"
"""Tier -> instance -> its address and its weight."""


@runtime_checkable
class RendersConfiguration(Protocol):
    """A hop whose software also runs outside of chains: `changeover render KIND` prints the configuration it needs."""

    @classmethod
    def render(cls, parsed: ParsedChain, hops: KnownHops, serving: Serving) -> dict[str, Any] | str:
        """Its configuration as a router of this chain's tiers, with the instances that serve now: data, or a text."""


@runtime_checkable
class CountsRequests(Protocol):
    """A hop that counts the requests it sends to each instance of the tier behind it: `source: router` of a guard."""

    async def request_counts(self, tier: str, nodes: Nodes) -> Mapping[str, Mapping[str, RequestCounts]]:
        """Node -> instance -> counts, from all `nodes`. Raises Unknown when one of them does not answer."""


class Nodes(Protocol):
    """The instances of a routing tier that carry traffic at the moment of the call."""

    def __call__(self) -> tuple[Instance, ...]: ...


class MemberAgents(Protocol):
    """The agents beside the nodes of a routing tier: each keeps the lists of the tiers behind its node."""

    async def write_members(self, node: Instance, tier: str, text: str) -> None:
        """Replace the list of that tier. Raises Unknown."""

    async def members(self, node: Instance, tier: str) -> tuple[str, dict[str, tuple[bool, int]]]:
        """The SHA-256 of its list, and what the node does with each member: whether it sends it requests, its weight.

        Raises Unknown.
        """


@runtime_checkable
class RoutesInward(Protocol):
    """A hop that balances over the tier behind it itself, instead of that tier's load balancer."""

    def router(self, tier: Tier, membership: str, nodes: Nodes) -> Router:
        """The router of the tier behind: all `nodes` together, with their member list in the file `membership`."""


@runtime_checkable
class RoutesByAgents(Protocol):
    """A hop that balances over the tier behind it by a list that an agent beside it can keep."""

    def router_by_agents(self, tier: Tier, membership: str, nodes: Nodes, agents: MemberAgents) -> Router:
        """The router of the tier behind, over all `nodes`; the list that holds is in the file `membership`."""


@runtime_checkable
class RoutesFromOutside(Protocol):
    """A hop whose software can also route a tier without being a tier of the chain: `router` in a chain file."""

    def external_router(self, tier: Tier, settings: Any, readiness: Readiness | None, membership: str) -> Router:
        """The router that `settings` describe, with its member list kept in `membership` where it has no other place.

        `readiness`: what instances of the tier are asked at the address that serves requests, if they answer it there.
        """
