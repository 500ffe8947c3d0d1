"""A hop whose software runs on VMs: its agent is asked, whatever the software is. Refuses to launch anything."""

from __future__ import annotations

from changeover.model.hop_traits import HopTraits
from changeover.model.instance import InFlight, Instance
from changeover.platforms.gcp.agents import Agents, in_flight_of
from changeover.ports import Unknown


class AgentHop:
    """One tier's software."""

    def __init__(self, traits: HopTraits, agents: Agents) -> None:
        self.traits = traits
        self._agents = agents

    async def not_ready(self, instance: Instance, timeout: float) -> str:
        try:
            status = await self._agents.status(instance, timeout)
        except Unknown as error:
            return str(error)
        return "" if status.get("ready") is True else str(status.get("reason") or "its agent does not say why")

    async def lame_duck(self, instance: Instance, on: bool) -> None:
        """The agent asks the software for it when the platform asks the agent."""

    async def in_flight(self, instance: Instance) -> InFlight | None:
        return in_flight_of(instance.name, await self._agents.status(instance))
