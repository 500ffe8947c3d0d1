"""The port to where instances and load balancers come from, and what some platforms can do beyond it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from signal import Signals
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from changeover.model.chain import Tier
    from changeover.model.connections import Connections
    from changeover.model.instance import Address, Instance
    from changeover.model.stop import StopTo
    from changeover.ports.routers import Preview, Router


@runtime_checkable
class KeepsLogs(Protocol):
    """A platform that has the output of its instances."""

    def with_log(self, instance: Instance, what: str) -> str:
        """`what` the instance does wrong, with the path of its log and its last lines, and without secrets."""


@runtime_checkable
class SeesExits(Protocol):
    """A platform that need not be asked again and again whether an instance has stopped."""

    async def until_exit(self, instances: Collection[Instance], seconds: float) -> None:
        """Return when the first process of one of them exits, and after so many seconds at the latest."""


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

    async def adopt(
        self, tiers: Collection[Tier], *, again: bool = False, read: Mapping[str, Any] | None = None
    ) -> Mapping[str, Collection[Instance]]:
        """Tier -> its instances as they are now, each with the template it was made from. Creates nothing.

        Raises ChangeoverError with every reason why one cannot be adopted, and Unknown. `again`: a size other than that
        of the last adoption is one. `read`: tier -> what the checks of this platform have just read of it, so that it
        is not asked again.
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
