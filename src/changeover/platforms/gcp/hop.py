"""A hop whose software runs on VMs: its agent is asked, whatever the software is. Refuses to launch anything."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from changeover.model.chain import Tier
from changeover.model.hop_traits import HopTraits
from changeover.model.instance import InFlight, Instance
from changeover.platforms.gcp.agents import Agents
from changeover.platforms.gcp.answers import in_flight_of
from changeover.ports import Nodes, Router, Unknown

Route = Callable[[Tier, str, Nodes], Router]
"""The router of a tier behind, over these nodes; the text is the file with its members."""


class AgentHop:
    """One tier's software."""

    def __init__(self, traits: HopTraits, agents: Agents) -> None:
        self.traits = traits
        self._agents = agents

    async def not_ready(self, instance: Instance, timeout: float) -> str:
        try:
            status = await self._agents.status(instance, timeout)
        except Unknown as error:
            return _not_known(error)
        return "" if status.get("ready") is True else str(status.get("reason") or "its agent does not say why")

    async def lame_duck(self, instance: Instance, on: bool) -> None:
        """The agent asks the software for it when the platform asks the agent."""

    async def in_flight(self, instance: Instance) -> InFlight | None:
        return in_flight_of(instance.name, await self._agents.status(instance))


class RoutingAgentHop(AgentHop):
    """A tier that balances over the tiers behind it, by lists that its agents keep.

    `lists`: tier behind -> the file with the list that holds. An agent without it, such as that of a new VM, gets it
    when it is asked for readiness.
    """

    def __init__(self, traits: HopTraits, agents: Agents, lists: Mapping[str, Path], route: Route) -> None:
        super().__init__(traits, agents)
        self._lists = lists
        self._route = route

    def router(self, tier: Tier, membership: str, nodes: Nodes) -> Router:
        return self._route(tier, membership, nodes)

    async def not_ready(self, instance: Instance, timeout: float) -> str:
        try:
            known = (await self._agents.status(instance, timeout)).get("members") or {}
            for tier, file in self._lists.items():
                text = file.read_text(encoding="utf-8")
                if known.get(tier) != hashlib.sha256(text.encode()).hexdigest():
                    await self._agents.write_members(instance, tier, text)
        except Unknown as error:
            return _not_known(error)
        except OSError as error:
            return f"the members of a tier behind it could not be read: {error}"
        return await super().not_ready(instance, timeout)


def _not_known(error: Unknown) -> str:
    """An instance of which nothing is known counts as not ready, and the message does not call it so."""
    return f"it is not known whether it is ready: {error}"
