"""Every Kong in front of a tier, as that tier's router.

*Confirmed* is the word of each node's own balancer, so a node that does not answer confirms nothing. Two things no node
reports: what unlisted nodes do, and the buffered uploads that a node has yet to hand on to an instance. The router
waits for both, counted from the moment at which all listed nodes agree.

A new instance is up before an old one goes down: the engine removes no instance before the admission of another is
confirmed. That matters more here than elsewhere, for Kong retries a request only at instances that had weight when the
request began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import ClassVar, Literal

from changeover.hops.kong.admin_api import ActiveTarget, NodeBalancer
from changeover.hops.kong.document import KongTarget
from changeover.hops.kong.target_lists import KongNode, NodeList, TargetList
from changeover.hops.kong.timing import KongTiming
from changeover.model.instance import Instance
from changeover.ports import Membership, Unknown

_ABSENT = ActiveTarget(0, False)


class KongRouter:
    """Membership of one upstream over all nodes.

    `propagation` gives the seconds from when the listed nodes have a change until all nodes have it; `hold` those for
    which bodies may still go to an instance that was removed.
    """

    weighs: ClassVar[Literal["requests", "connections"]] = "requests"

    def __init__(
        self,
        upstream: str,
        targets: TargetList,
        nodes: NodeList,
        now: Callable[[], float],
        timing: KongTiming,
        *,
        propagation: Callable[[], float] = lambda: 0.0,
        hold: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._upstream = upstream
        self._targets = targets
        self._nodes = nodes
        self._now = now
        self._timing = timing
        self._propagation = propagation
        self._hold = hold
        self._addresses: dict[str, str] = {}
        """Of every instance seen so far: a node may still have one that the list has no more."""
        self._next_look = 0.0
        self._since: dict[str, tuple[int, float]] = {}
        """Name -> the weight that all nodes agree on, and when they were first seen to."""

    async def open(self, keep: Collection[Instance] = ()) -> None:
        await self._targets.open({instance.name: instance.address for instance in keep})

    async def admit(self, instance: Instance, weight: int) -> None:
        self._addresses[instance.name] = str(instance.address)
        await self._targets.put(instance.name, KongTarget(instance.address, weight))

    async def weigh(self, instance: Instance, weight: int) -> None:
        if instance.name in await self._targets.all():
            await self.admit(instance, weight)

    async def remove(self, instance: Instance) -> None:
        """By its weight, not by deleting it.

        A deleted target is missing in every node's list at once, long before the node has the change; and one with
        weight 0 is readmitted faster.
        """
        self._addresses[instance.name] = str(instance.address)
        await self._targets.put(instance.name, KongTarget(instance.address, 0))

    async def forget(self, name: str) -> None:
        await self._targets.drop(name)
        self._addresses.pop(name, None)
        self._since.pop(name, None)

    async def membership(self, names: frozenset[str]) -> Mapping[str, Membership]:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._next_look - loop.time())
        self._next_look = loop.time() + self._timing.look
        nodes = self._nodes()
        answers = await asyncio.gather(*(self._ask(node) for node in nodes))
        wanted = await self._targets.all()
        self._addresses |= {name: str(target.address) for name, target in wanted.items()}
        by_node = dict(zip((node.name for node in nodes), _distinct(answers), strict=True))
        return {name: self._join(name, wanted.get(name), by_node) for name in names}

    async def pool_idle(self) -> float:
        """The longest of all nodes. Raises Unknown."""
        return max(await asyncio.gather(*(node.admin.pool_idle() for node in self._nodes())), default=0.0)

    async def _ask(self, node: KongNode) -> NodeBalancer | str:
        """What the node does, or why it is not known."""
        try:
            return await node.admin.balancer(self._upstream)
        except Unknown as error:
            return str(error)

    def _join(self, name: str, wanted: KongTarget | None, answers: Mapping[str, NodeBalancer | str]) -> Membership:
        weight = wanted.weight if wanted else 0
        address = self._addresses.get(name)
        if address is None:
            return Membership(False, False, "Kong (it is not listed, and its address is not known)")
        for node, answer in answers.items():
            difference, silent = _difference(answer, address, weight)
            if difference:
                if not silent:  # a silent node does not contradict: the time that has passed so far counts
                    self._since.pop(name, None)
                return Membership(False, False, f"{node} ({difference})", silent=silent)
        before, since = self._since.get(name, (None, 0.0))
        if before != weight:
            since = self._now()
            self._since[name] = weight, since
        propagation = self._propagation()
        needed = propagation + (self._hold() if wanted and not weight else 0.0)
        seen = self._now() - since
        if seen < needed:
            why = "uploads that it buffers" if needed > propagation else "nodes that are not asked"
            return Membership(
                False, False, f"Kong (seen for {seen:.0f} s of {needed:.0f} s, for {why})", agreed=weight > 0
            )
        return Membership(admitted=weight > 0, removed=weight == 0, weight=weight or None)


def _difference(answer: NodeBalancer | str, address: str, weight: int) -> tuple[str, bool]:
    """How a node differs from the list, if it does, and whether it is silent."""
    if isinstance(answer, str):
        return answer, True
    target = answer.targets.get(address, _ABSENT)
    if not weight:
        return (f"still sends it requests, with weight {target.weight}" if target.weight else ""), False
    if target.weight != weight:
        return f"does not send it requests with weight {weight} yet, but with {target.weight}", False
    return ("" if target.healthy else "finds it unhealthy"), False


def _distinct(answers: list[NodeBalancer | str]) -> list[NodeBalancer | str]:
    """Each node once: with one node at two addresses, a node at no listed address would count as confirmed."""
    seen: set[str] = set()
    found: list[NodeBalancer | str] = []
    for answer in answers:
        again = isinstance(answer, NodeBalancer) and answer.node in seen
        found.append("the same node answers at another address too: each needs its own" if again else answer)
        seen |= {answer.node} if isinstance(answer, NodeBalancer) else set()
    return found
