"""The port to what holds the members of a tier, and what some routers can do beyond it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from changeover.model.instance import Instance


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
    """A router that runs on when the chain does not, and forgets its members when it restarts; or whose shares of the
    traffic others can change, or must change when the last healthy instance of a template fails."""

    async def lost(self) -> bool:
        """Whether `restore` would find anything. Changes nothing, and leaves out what does not answer."""

    async def restore(self) -> Sequence[Restored]:
        """Give it back the members that it lost; returns what was found and done."""

    @property
    def silent(self) -> Sequence[str]:
        """The nodes that did not answer at the last `restore`."""


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


class Preview(Protocol):
    """An address of its own for the new instances of a blue-green tier, before the switch."""

    async def show(self, instances: Collection[Instance]) -> bool:
        """Send new requests to these instances alone; return whether any instance is left in its list.

        Raises Unknown until all of these are confirmed.
        """
