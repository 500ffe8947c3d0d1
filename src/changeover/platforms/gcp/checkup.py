"""Reads what the checks of `doctor` need of each tier. Changes nothing, and takes no missing answer for a good one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from typing import Any

from changeover.doctor.facts import AgentAnswer, GroupFacts, Resource, TierFacts, UploadLoad, below_project, part, short
from changeover.model.chain import Tier
from changeover.model.instance import Address, Instance
from changeover.platforms.gcp.agents import Agents, NoAnswer
from changeover.platforms.gcp.api.calls import Calls
from changeover.platforms.gcp.api.groups import ManagedVm
from changeover.platforms.gcp.api.machines import Machines
from changeover.platforms.gcp.reading import Questions, Reader, TierRead
from changeover.ports import Unknown

_NO_ADDRESS = "Run `changeover doctor` again when the VM runs: gcloud compute instances list --filter=name=VM"


class Checkup:
    """Of one chain."""

    def __init__(self, project: str, reader: Reader, agents: Mapping[str, Agents], calls: Calls) -> None:
        self._project = project
        self._reader = reader
        self._agents = agents
        self._calls = calls

    async def read(self, tier: Tier) -> TierRead:
        """What adopting the tier needs."""
        return await self._reader.read(tier)

    async def facts(self, tier: Tier, load: UploadLoad, read: TierRead | None = None) -> TierFacts:
        """What is true of the tier at this moment. `read`: it was read just now."""
        read = read or await self.read(tier)
        found, asked = read.facts, self._reader.questions()
        links = [
            link
            for facts in (found, *((found.idle,) if found.idle is not None else ()))
            for resource in (facts.group, *facts.services.values())
            for link in (
                *part(resource, "healthChecks", ()),
                *(part(one, "healthCheck", "") for one in part(resource, "autoHealingPolicies", ())),
            )
            if link
        ]
        paths = sorted(set(map(below_project, links)))
        checks, templates, agents = await asyncio.gather(
            asyncio.gather(*(_check(asked, path) for path in paths)),
            asyncio.gather(*(_template(asked, path) for path in found.paths.values())),
            self._ask(asked, tier, read.groups[0].vms.values()),
        )
        silent = {name for name, answer in agents.items() if isinstance(answer.status, str)}
        link = part(found.group, "instanceGroup", "")
        out = await self._out(asked, found.services.values(), link, silent) if silent else frozenset()

        def complete(facts: GroupFacts, more: Mapping[str, Any]) -> TierFacts:
            return TierFacts(
                **{
                    **vars(facts),
                    "checks": dict(zip(paths, checks, strict=True)),
                    "templates": dict(zip(found.paths.values(), templates, strict=True)),
                    "load": load,
                    "unread": {**found.unread, **asked.unread},
                    **more,
                }
            )

        idle = complete(found.idle, {"agents": {}}) if found.idle is not None else None
        return complete(found, {"agents": agents, "out": out, "idle": idle})

    async def _out(
        self, asked: Questions, services: Collection[Resource | None], group: str, names: Collection[str]
    ) -> frozenset[str]:
        """Those that every backend service lists, and lists as unhealthy alone. None where one could not be read."""
        found = frozenset(names) if services else frozenset()
        for service in services:
            region = short(part(service, "region", ""))
            about = {
                "backend_service": part(service, "name", ""),
                "resource_group_reference_resource": self._calls.types.ResourceGroupReference(group=group),
            } | ({"region": region} if region else {})
            client = "RegionBackendServicesClient" if region else "BackendServicesClient"
            what = f"the health of backend service {part(service, 'name', '')}"
            listed = await asked.resource(what, client, "get_health", about) if service is not None else None
            states: dict[str, set[str]] = {}
            for one in part(listed, "healthStatus", ()):
                states.setdefault(short(part(one, "instance", "")), set()).add(part(one, "healthState", ""))
            found &= {name for name, its in states.items() if its == {"UNHEALTHY"}}
        return found

    async def _ask(self, asked: Questions, tier: Tier, vms: Collection[ManagedVm]) -> dict[str, AgentAnswer]:
        try:
            addresses = await Machines(self._calls, self._project).addresses([vm for vm in vms if vm.url])
        except Unknown as error:
            asked.unread["the addresses of the VMs"] = str(error)
            return {}
        answers = await asyncio.gather(*(self._status(tier, name, host) for name, host in addresses.items()))
        missing = AgentAnswer("the VM has no address", time.time(), _NO_ADDRESS)
        return {vm.name: missing for vm in vms if vm.url} | dict(zip(addresses, answers, strict=True))

    async def _status(self, tier: Tier, vm: str, host: str) -> AgentAnswer:
        assert tier.agent is not None
        address = Address(host, tier.agent.port)
        try:
            status = await self._agents[tier.name].surely(Instance(vm, tier.name, "", address, address))
        except Unknown as error:
            cure = error.cure if isinstance(error, NoAnswer) else ""
            return AgentAnswer(str(error), time.time(), cure)
        return AgentAnswer(status, time.time())


async def _check(asked: Questions, path: str) -> Resource | None:
    scope = path.split("/")
    about = {"health_check": scope[-1]} | ({"region": scope[1]} if scope[0] == "regions" else {})
    client = "RegionHealthChecksClient" if scope[0] == "regions" else "HealthChecksClient"
    return await asked.resource(path, client, "get", about)


async def _template(asked: Questions, path: str) -> Resource | None:
    scope = path.split("/")
    about = {"instance_template": scope[-1]} | ({"region": scope[1]} if scope[0] == "regions" else {})
    client = "RegionInstanceTemplatesClient" if scope[0] == "regions" else "InstanceTemplatesClient"
    return await asked.resource(path, client, "get", about)
