"""Every Kong in front of a tier, as that tier's router.

*Confirmed* is what each node's own balancer says, so a node that does not answer confirms nothing. Two things no node
can say: what nodes do that are not asked, and what a node that buffers uploads has yet to hand on to an instance. Both
are waited for, counted from when all nodes that are asked were first seen to agree.

A new instance is up before an old one goes down: the engine removes nobody before the admission of another is
confirmed. That matters more here than elsewhere, for Kong retries a request only at instances that had weight when the
request began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

from changeover.hops.kong.admin import Balancer, Host
from changeover.hops.kong.document import Member
from changeover.hops.kong.members import Members, Node, Nodes
from changeover.model.instance import Instance
from changeover.ports import Membership, Unknown

LOOK = 0.1
"""Seconds between two rounds of questions: whoever asks goes round faster than an Admin API should be asked."""
_NOT_THERE = Host(0, False)


class KongRouter:
    """Membership of one upstream over all nodes.

    `spread` gives the seconds from when the nodes that are asked have a change until all have it; `held` those for
    which bodies may still be handed on to an instance that was taken out.
    """

    weighs: ClassVar[Literal["requests", "connections"]] = "requests"

    def __init__(
        self,
        upstream: str,
        members: Members,
        nodes: Nodes,
        now: Callable[[], float],
        *,
        spread: Callable[[], float] = lambda: 0.0,
        held: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._upstream = upstream
        self._members = members
        self._nodes = nodes
        self._now = now
        self._spread = spread
        self._held = held
        self._addresses: dict[str, str] = {}
        """Of those that were spoken of: what is not listed any more may still be known to a node."""
        self._next_look = 0.0
        self._since: dict[str, tuple[int, float]] = {}
        """Name -> the weight that all nodes agree on, and when they were first seen to."""

    async def open(self) -> None:
        await self._members.open()

    async def admit(self, instance: Instance, weight: int) -> None:
        self._addresses[instance.name] = str(instance.address)
        await self._members.put(instance.name, Member(instance.address, weight))

    async def weigh(self, instance: Instance, weight: int) -> None:
        if instance.name in await self._members.all():
            await self.admit(instance, weight)

    async def remove(self, instance: Instance) -> None:
        """By its weight, not by deleting it: what is deleted is missing in every node's list at once, long before the
        node has heard of it; and it comes back faster."""
        self._addresses[instance.name] = str(instance.address)
        await self._members.put(instance.name, Member(instance.address, 0))

    async def forget(self, name: str) -> None:
        await self._members.drop(name)
        self._addresses.pop(name, None)
        self._since.pop(name, None)

    async def membership(self, names: frozenset[str]) -> Mapping[str, Membership]:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._next_look - loop.time())
        self._next_look = loop.time() + LOOK
        nodes = self._nodes()
        told = await asyncio.gather(*(self._ask(node) for node in nodes))
        wanted = await self._members.all()
        self._addresses |= {name: str(member.address) for name, member in wanted.items()}
        answers = dict(zip((node.name for node in nodes), _each_itself(told), strict=True))
        return {name: self._join(name, wanted.get(name), answers) for name in names}

    async def _ask(self, node: Node) -> Balancer | str:
        """What the node does, or why it could not be asked."""
        try:
            return await node.admin.balancer(self._upstream)
        except Unknown as error:
            return str(error)

    def _join(self, name: str, wanted: Member | None, answers: Mapping[str, Balancer | str]) -> Membership:
        weight = wanted.weight if wanted else 0
        address = self._addresses.get(name)
        if address is None:
            return Membership(False, False, who="Kong (it is not listed, and nobody has said yet where it is)")
        for node, answer in answers.items():
            against, silent = _against(answer, address, weight)
            if against:
                if not silent:  # who did not answer has not said otherwise: what was waited for so far counts
                    self._since.pop(name, None)
                return Membership(False, False, who=f"{node} ({against})", silent=silent)
        before, since = self._since.get(name, (None, 0.0))
        if before != weight:
            since = self._now()
            self._since[name] = weight, since
        spread = self._spread()
        patience = spread + (self._held() if wanted and not weight else 0.0)
        seen = self._now() - since
        if seen < patience:
            why = "uploads that it buffers" if patience > spread else "nodes that are not asked"
            return Membership(False, False, who=f"Kong (seen for {seen:.0f} s of {patience:.0f} s, for {why})")
        return Membership(admitted=weight > 0, removed=weight == 0, weight=weight or None)


def _against(answer: Balancer | str, address: str, weight: int) -> tuple[str, bool]:
    """What a node does otherwise, if anything, and whether it did not say."""
    if isinstance(answer, str):
        return answer, True
    host = answer.hosts.get(address, _NOT_THERE)
    if not weight:
        return (f"still sends it requests, with weight {host.weight}" if host.weight else ""), False
    if host.weight != weight:
        return f"does not send it requests with weight {weight} yet, but with {host.weight}", False
    return ("" if host.healthy else "finds it unhealthy"), False


def _each_itself(told: list[Balancer | str]) -> list[Balancer | str]:
    """Two addresses at which the same node answers would confirm for a node that nobody has asked."""
    seen: set[str] = set()
    found: list[Balancer | str] = []
    for answer in told:
        again = isinstance(answer, Balancer) and answer.node in seen
        found.append("the same node answers at another address too: each needs its own" if again else answer)
        seen |= {answer.node} if isinstance(answer, Balancer) else set()
    return found
