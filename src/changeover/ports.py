"""The ports between the engine and what it acts on. Small: each further ability is a capability protocol of its own.

A method that cannot find out raises `Unknown`, with what it saw. It never returns a value instead: the caller decides
what an unknown answer means, and in a rollout it means waiting.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from signal import Signals
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:  # annotations alone: what catches `Unknown` need not load the model
    from pathlib import Path

    import httpx

    from changeover.model.chain import Chain, Tier
    from changeover.model.chainfile import ParsedChain
    from changeover.model.connections import Connections
    from changeover.model.guard import RequestCounts
    from changeover.model.hop_traits import HopTraits, KnownHops
    from changeover.model.instance import Address, InFlight, Instance, LaunchSpec
    from changeover.model.readiness import Readiness
    from changeover.model.software import Missing
    from changeover.model.stop import StopTo


class Unknown(Exception):
    """No answer, or none that can be trusted. The text names what was asked, and the cause."""


class CannotStart(Exception):
    """An instance could not be launched. The text is the reason that its software gave."""


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

    def __init__(self, client: httpx.AsyncClient) -> None:
        """`client` asks control addresses."""

    def launch(self, settings: Any, context: LaunchContext) -> LaunchSpec:
        """What to run for an instance in that context. `settings` is a template, as `traits.settings` parsed it."""


@dataclass(frozen=True)
class Membership:
    """What the routers of a tier do with one instance.

    `admitted`: every router sends it new requests; `removed`: no router can. Neither: they differ, or one did not
    answer. `pending` then names the first router that differs and how, and `silent` is true if it did not answer
    at all. `agreed`: the routers that can be asked all send it requests, also where `admitted` waits for others.
    `sessions`: open from the routers to the instance, where they know. `weight`: where all have the same one.
    """

    admitted: bool
    removed: bool
    pending: str = ""
    silent: bool = False
    sessions: int | None = None
    weight: int | None = None
    agreed: bool = False


class Router(Protocol):
    """The holder of a tier's membership list."""

    async def open(self, keep: Collection[Instance] = ()) -> None:
        """Create a membership list where there is none, and delete from it what an earlier run left. Raises Unknown.

        Members that are among `keep`, at the same address, stay in service as they are; others are not added.
        """

    async def admit(self, instance: Instance, weight: int) -> None:
        """Begin to send it traffic; a router that cannot weigh ignores the weight. Raises Unknown."""

    async def remove(self, instance: Instance) -> None:
        """Send it nothing new; requests in flight continue. Raises Unknown."""

    async def membership(self, names: frozenset[str]) -> Mapping[str, Membership]:
        """What all routers do with each of these instances at this moment. Raises Unknown when none answers."""

    async def forget(self, name: str) -> None:
        """Delete the entry of an instance that is gone. Raises Unknown."""


@runtime_checkable
class CanWeigh(Protocol):
    """A router that can send instances different shares of the requests, or of connections if it sees none."""

    weighs: ClassVar[Literal["requests", "connections"]]

    async def weigh(self, instance: Instance, weight: int) -> None:
        """Give it that weight, 1 to 256, in proportion to the weights of the others. Raises Unknown."""


@runtime_checkable
class PoolsConnections(Protocol):
    """A router that keeps idle connections to an instance that it has removed."""

    async def pool_idle(self) -> float:
        """Seconds for which it keeps one: the drain of an instance takes that long even without requests.

        Raises Unknown.
        """


@runtime_checkable
class FollowsHealth(Protocol):
    """A router without a list to change: it sends an instance requests from when its own check of it passes."""

    follows_health: ClassVar[Literal[True]]
    holds_new: bool
    """Whether it sends the instances of a new template nothing until the first of them is admitted."""


@runtime_checkable
class ChecksAhead(Protocol):
    """A router that another operator configures, and that may not be able to do what a rollout needs."""

    async def faults(self) -> Sequence[str]:
        """Why it cannot, each in words; of a node that does not answer, too. Changes nothing."""


@dataclass(frozen=True)
class Restored:
    """What a router had otherwise than its list, and what was done about it, in words."""

    text: str
    broke: bool = False
    """Whether requests through the router broke meanwhile, or may have."""


@runtime_checkable
class LosesMembers(Protocol):
    """A router that runs on when the chain does not, and forgets its members when it restarts."""

    async def lost(self) -> bool:
        """Whether `restore` would find anything. Changes nothing, and leaves out what does not answer."""

    async def restore(self) -> Sequence[Restored]:
        """Give it back the members that it lost; returns what was found and done."""

    @property
    def silent(self) -> Sequence[str]:
        """The nodes that did not answer at the last `restore`."""


@runtime_checkable
class RoutesInward(Protocol):
    """A hop that balances over the tier behind it itself, instead of that tier's load balancer."""

    def router(self, tier: Tier, membership: str, nodes: Nodes) -> Router:
        """The router of the tier behind: all `nodes` together, with their member list in the file `membership`."""


@runtime_checkable
class RoutesFromOutside(Protocol):
    """A hop whose software can also route a tier without being a tier of the chain: `router` in a chain file."""

    def external_router(self, tier: Tier, settings: Any, readiness: Readiness | None, membership: str) -> Router:
        """The router that `settings` describe, with its member list kept in `membership` where it has no other place.

        `readiness`: what instances of the tier are asked at the address that serves requests, if they answer it there.
        """


class MemberAgents(Protocol):
    """The agents beside the nodes of a routing tier: each keeps the lists of the tiers behind its node."""

    async def write_members(self, node: Instance, tier: str, text: str) -> None:
        """Replace the list of that tier. Raises Unknown."""

    async def members(self, node: Instance, tier: str) -> tuple[str, dict[str, tuple[bool, int]]]:
        """The SHA-256 of its list, and what the node does with each member: whether it sends it requests, its weight.

        Raises Unknown.
        """


@runtime_checkable
class RoutesByAgents(Protocol):
    """A hop that balances over the tier behind it by a list that an agent beside it can keep."""

    def router_by_agents(self, tier: Tier, membership: str, nodes: Nodes, agents: MemberAgents) -> Router:
        """The router of the tier behind, over all `nodes`; the list that holds is in the file `membership`."""


@runtime_checkable
class CountsRequests(Protocol):
    """A hop that counts the requests it sends to each instance of the tier behind it: `source: router` of a guard."""

    async def request_counts(self, tier: str, nodes: Nodes) -> Mapping[str, Mapping[str, RequestCounts]]:
        """Node -> instance -> counts, from all `nodes`. Raises Unknown when one of them does not answer."""


@runtime_checkable
class CountsTraffic(Protocol):
    """A router that counts what it passes to each instance, so that a canary without requests is noticed."""

    async def traffic(self) -> Mapping[str, int]:
        """Instance -> a number that only grows, and grows with each request to it. Raises Unknown."""


@dataclass(frozen=True)
class Broken:
    """What one router counted of the requests to an instance, or to its whole tier, since the router began to count."""

    ended: int
    """Requests that broke and were not sent again to another instance. It only grows."""
    open: int
    """Requests that are under way; connections where it passes bytes."""
    connections: int | None = None
    """Where it passes bytes: all connections so far. It cannot tell a broken one that the instance closed from others.
    None: it reads requests, and `ended` leaves out none."""
    incomplete: str = ""
    """Why these are not all that it passed on, in words that continue its name. Empty: they are."""


@runtime_checkable
class CountsBroken(Protocol):
    """A router that counts the requests that break, so that an outcome can state what the death of an instance cost."""

    async def broken(self, names: frozenset[str]) -> Mapping[str, Mapping[str, Broken]]:
        """Instance -> source in words, such as a node of the tier in front -> its counts; every name has an entry.

        One source of several instances has one `ended` for all of them. An instance without a source got no request.
        Raises Unknown where a source does not answer.
        """


@runtime_checkable
class SeesAges(Protocol):
    """A router that knows for how long what it passes to an instance has been open."""

    async def ages(self) -> Mapping[str, Sequence[float]]:
        """Instance -> seconds of each of its connections, or of its requests where the router reads them.

        An instance without any may be missing. Raises Unknown.
        """


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


@runtime_checkable
class RendersConfiguration(Protocol):
    """A hop whose software also runs outside of chains: `changeover render KIND` prints the configuration it needs."""

    @classmethod
    def render(cls, parsed: ParsedChain, hops: KnownHops, serving: Serving) -> dict[str, Any] | str:
        """Its configuration as a router of this chain's tiers, with the instances that serve now: data, or a text."""


Serving: TypeAlias = "Mapping[str, Mapping[str, tuple[Address, int]]]"
"""Tier -> instance -> its address and its weight."""


class Preview(Protocol):
    """An address of its own for the new instances of a blue-green tier, before the switch."""

    async def show(self, instances: Collection[Instance]) -> bool:
        """Send new requests to these instances alone; return whether any instance is left in its list.

        Raises Unknown until all of these are confirmed.
        """


class Nodes(Protocol):
    """The instances of a routing tier that carry traffic at the moment of the call."""

    def __call__(self) -> tuple[Instance, ...]: ...


@runtime_checkable
class KeepsLogs(Protocol):
    """A platform that has the output of its instances."""

    def with_log(self, instance: Instance, what: str) -> str:
        """`what` the instance does wrong, with the path of its log and its last lines, and without secrets."""


class Platform(Protocol):
    """Where instances and load balancers come from. Its answers are of the moment of the question, never remembered."""

    def is_open(self) -> bool:
        """Whether the load balancers are up, with all members admitted, as far as this platform starts them."""

    def entry(self, tier: str) -> Address:
        """The stable address of a tier: its load balancer's, or that of its router outside of the chain.

        Port 0: the platform does not know it.
        """

    def router(self, tier: Tier) -> Router:
        """The tier's own load balancer."""

    def preview(self, tier: Tier) -> Preview | None:
        """The tier's preview, where its chain file asks for one."""

    def recorded(self, name: str) -> Instance | None:
        """The record of an instance, running or not."""

    async def create(self, name: str, tier: Tier, template: str) -> Instance:
        """Create it; the same name twice is one instance. Raises CannotStart, and leaves nothing of it then."""

    async def gone(self, instances: Collection[Instance], stopped: Collection[str] = ()) -> Mapping[str, str]:
        """Those that no longer exist: name -> why, in a few words. One question for many. Raises Unknown.

        `stopped`: names of those that `stop` was called for; such an instance exists until nothing of it runs.
        """

    async def connections(self, instance: Instance) -> Connections | None:
        """The connections to its address as the kernel shows them; None where the platform cannot ask a kernel."""

    async def lame_duck(self, instance: Instance, on: bool) -> None:
        """Have the instance answer that it is not ready, or no longer have it do so. Raises Unknown."""

    async def stop(self, instance: Instance, signal: Signals, to: StopTo) -> None:
        """Have it end, by the signal where the platform sends signals, and return; `gone` reports the effect.

        Raises Unknown.
        """

    async def kill(self, instance: Instance) -> None:
        """End whatever is left of it, at once, and delete its record. Raises Unknown."""


@runtime_checkable
class Launches(Protocol):
    """A platform that starts the load balancers and every instance, and can end all of them."""

    async def open(self, *, fresh: bool) -> None:
        """Start load balancers, and create certificates and folders. Those that are up stay as they are.

        `fresh` deletes the records of an earlier run's instances. Membership lists are empty after this; after one that
        is not fresh, `is_open` is false until `mark_whole`.
        """

    def mark_whole(self) -> None:
        """Record that all members are admitted again. A controller that is killed before this leaves it to the next."""

    async def close(self) -> None:
        """Stop everything that `open` started, and every instance that is left, recorded or not."""


@runtime_checkable
class DeletesLater(Protocol):
    """A platform whose machines go on for a while after their instance was stopped, empty, and count for nothing."""

    async def deletion(self, tier: Tier) -> float:
        """Seconds that it takes to delete one of the tier, by what routers and platform say. Raises Unknown."""


@dataclass(frozen=True)
class CallRate:
    """Calls per minute of a roll to an API, at most, and its default quota. `slower`: the pause that would fit it."""

    calls: int
    quota: int
    slower: float
    """Seconds between two looks."""


@runtime_checkable
class CountsCalls(Protocol):
    """A platform whose answers count against a quota."""

    def calls(self, tier: Tier, machines: int) -> CallRate:
        """Of a roll of the tier while as many of its machines exist."""


@runtime_checkable
class Adopts(Protocol):
    """A platform whose instances and load balancers are there before the chain, and stay after it."""

    async def adopt(self, tiers: Collection[Tier], *, again: bool = False) -> Mapping[str, Collection[Instance]]:
        """Tier -> its instances as they are now, each with the template it was made from. Creates nothing.

        Raises ChangeoverError with every reason why one cannot be adopted, and Unknown. `again`: a size other than that
        of the last adoption is one.
        """

    def size(self, tier: str) -> int | None:
        """How many instances the tier had when it was adopted; None before that."""

    async def check(self, targets: Mapping[str, str]) -> None:
        """Whether instances can be made from these templates: tier -> template. Raises ChangeoverError, and Unknown."""

    async def settle(self, tier: Tier, template: str) -> str:
        """Have the platform's own view of the tier be that all its instances are of this template.

        Returns what does not agree and another client must have done; empty where all agrees. Raises Unknown.
        """

    async def release(self) -> None:
        """Restore what was changed for the chain, and delete its records. Deletes nothing else. Raises Unknown."""
