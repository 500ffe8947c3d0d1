"""Every Envoy of a gateway tier on other machines: an agent beside each keeps the list of the members behind it.

The controller's own list is the one that holds. A node whose list is another one confirms nothing, and gets it again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping

from changeover.hops.envoy.router import EnvoyRouter
from changeover.kit.direct_http import DirectClient
from changeover.model.instance import Instance
from changeover.ports import Broken, MemberAgents, Nodes, Unknown


class EnvoyBehindAgents(EnvoyRouter):
    """Membership of one cluster over all nodes of the tier in front, by their agents."""

    def __init__(self, client: DirectClient, agents: MemberAgents, cluster: str, membership: str, nodes: Nodes) -> None:
        super().__init__(client, cluster, membership, nodes)
        self._agents = agents

    async def admit(self, instance: Instance, weight: int) -> None:
        await super().admit(instance, weight)
        await self._send_all()

    async def forget(self, name: str) -> None:
        await super().forget(name)
        await self._send_all()

    async def broken(self, names: frozenset[str]) -> Mapping[str, Mapping[str, Broken]]:
        raise Unknown("an Envoy behind an agent has a bootstrap of its own, whose retries hide how many requests broke")

    async def _send_all(self) -> None:
        """Raises Unknown where a node did not get the list; those that answered have it."""
        text = self._file.read_text(encoding="utf-8")
        sent = [self._agents.write_members(node, self._cluster, text) for node in self._nodes()]
        failed = [one for one in await asyncio.gather(*sent, return_exceptions=True) if one is not None]
        if failed:
            raise failed[0]

    async def _ask(self, node: Instance) -> dict[str, tuple[bool, int]] | str:
        text = self._file.read_text(encoding="utf-8")
        try:
            found, members = await self._agents.members(node, self._cluster)
            if found == hashlib.sha256(text.encode()).hexdigest():
                return members
            await self._agents.write_members(node, self._cluster, text)
        except Unknown as error:
            return str(error)
        return "it had another list of members, and gets this one now"
