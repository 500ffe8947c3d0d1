"""Reads what the checks of `doctor` need of each tier. Changes nothing, and takes no missing answer for a good one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from changeover.doctor.facts import LEAVES, AgentAnswer, Resource, TierFacts, UploadLoad, below_project, part, short
from changeover.model.chain import Chain, Tier
from changeover.model.instance import Address, Instance
from changeover.model.platform import InstanceTemplate
from changeover.platforms.gcp.agents import Agents, NoAnswer
from changeover.platforms.gcp.api.calls import Calls, Refused
from changeover.platforms.gcp.api.groups import ManagedVm
from changeover.platforms.gcp.api.machines import Machines
from changeover.ports import Unknown


class Checkup:
    """Of one chain. `templates`: tier -> its templates."""

    def __init__(
        self,
        chain: Chain,
        templates: Mapping[str, Mapping[str, InstanceTemplate]],
        agents: Mapping[str, Agents],
        calls: Calls,
    ) -> None:
        platform = chain.platform
        assert platform.project is not None
        self._project = platform.project
        self._scope = ("zone", platform.zone) if platform.zone is not None else ("region", platform.region or "")
        self._region = platform.region or (platform.zone or "").rpartition("-")[0]
        self._templates = templates
        self._agents = agents
        self._calls = calls

    async def facts(self, tier: Tier, load: UploadLoad) -> TierFacts:
        """What is true of the tier at this moment."""
        assert tier.agent is not None
        reading = _Reading(self._calls, self._project)
        groups, services, templates = await asyncio.gather(
            asyncio.gather(*(self._group(reading, name) for name in tier.groups)),
            asyncio.gather(*(self._service(reading, name) for name in tier.services)),
            asyncio.gather(*(_template(reading, one.path) for one in self._templates[tier.name].values())),
        )
        by_name = dict(zip(tier.services, services, strict=True))
        serving, *idle = sorted(groups, key=lambda one: not one.serves)
        links = [
            link
            for resource in (*(one.resource for one in groups), *services)
            for link in (
                *part(resource, "healthChecks", ()),
                *(part(one, "healthCheck", "") for one in part(resource, "autoHealingPolicies", ())),
            )
            if link
        ]
        paths = sorted(set(map(below_project, links)))
        checks, agents = await asyncio.gather(
            asyncio.gather(*(_check(reading, path) for path in paths)), self._ask(reading, tier, serving.vms)
        )
        silent = {name for name, answer in agents.items() if isinstance(answer.status, str)}
        link = part(serving.resource, "instanceGroup", "")
        out = await self._out(reading, services, link, silent) if silent else frozenset()
        facts = TierFacts(
            tier=tier.name,
            kind=tier.kind,
            place=f"--{self._scope[0]}={self._scope[1]}",
            group_name=serving.name,
            group=serving.resource,
            autoscaler=serving.autoscaler,
            vms=serving.vms,
            services={name: by_name[name] for name in tier.services_of(serving.name)},
            checks=dict(zip(paths, checks, strict=True)),
            templates=dict(zip((one.path for one in self._templates[tier.name].values()), templates, strict=True)),
            agents=agents,
            agent_port=tier.agent.port,
            agent_tls=tier.agent.tls is not None,
            load=load,
            out=out,
            unread=reading.unread,
        )
        if not idle:
            return facts
        others = {name: by_name[name] for name in tier.services_of(idle[0].name)}
        return replace(facts, idle=_with_group(facts, idle[0], others))

    async def _group(self, reading: _Reading, name: str) -> _GroupRead:
        regional = "Region" if self._scope[0] == "region" else ""
        where = {"instance_group_manager": name, self._scope[0]: self._scope[1]}
        group, vms = await asyncio.gather(
            reading.one(f"group {name}", f"{regional}InstanceGroupManagersClient", "get", where),
            reading.vms(name, regional, self._scope),
        )
        autoscaler = below_project(part(group, "status.autoscaler", ""))
        return _GroupRead(name, group, vms, await _autoscaler(reading, autoscaler) if autoscaler else None)

    async def _service(self, reading: _Reading, name: str) -> Resource | None:
        """The region's, else the global one."""
        what, asked = f"backend service {name}", {"backend_service": name}
        found = await reading.one(what, "RegionBackendServicesClient", "get", {**asked, "region": self._region})
        return found if found is not None else await reading.one(what, "BackendServicesClient", "get", asked)

    async def _out(
        self, reading: _Reading, services: Collection[Resource | None], group: str, names: Collection[str]
    ) -> frozenset[str]:
        """Those that every backend service lists, and lists as unhealthy alone. None where one could not be read."""
        found = frozenset(names) if services else frozenset()
        for service in services:
            region = short(part(service, "region", ""))
            asked = {
                "backend_service": part(service, "name", ""),
                "resource_group_reference_resource": self._calls.types.ResourceGroupReference(group=group),
            } | ({"region": region} if region else {})
            client = "RegionBackendServicesClient" if region else "BackendServicesClient"
            what = f"the health of backend service {part(service, 'name', '')}"
            listed = await reading.one(what, client, "get_health", asked) if service is not None else None
            states: dict[str, set[str]] = {}
            for one in part(listed, "healthStatus", ()):
                states.setdefault(short(part(one, "instance", "")), set()).add(part(one, "healthState", ""))
            found &= {name for name, its in states.items() if its == {"UNHEALTHY"}}
        return found

    async def _ask(self, reading: _Reading, tier: Tier, vms: Collection[Resource]) -> dict[str, AgentAnswer]:
        names = [
            ManagedVm(
                short(link), below_project(link), "", part(vm, "currentAction", ""), part(vm, "instanceStatus", ""), ""
            )
            for vm in vms
            if (link := part(vm, "instance")) and part(vm, "currentAction") not in LEAVES
        ]
        try:
            addresses = await Machines(self._calls, self._project).addresses(names)
        except Unknown as error:
            reading.unread["the addresses of the VMs"] = str(error)
            return {}
        answers = await asyncio.gather(*(self._status(tier, name, host) for name, host in addresses.items()))
        return dict(zip(addresses, answers, strict=True))

    async def _status(self, tier: Tier, vm: str, host: str) -> AgentAnswer:
        assert tier.agent is not None
        address = Address(host, tier.agent.port)
        try:
            status = await self._agents[tier.name].surely(Instance(vm, tier.name, "", address, address))
        except Unknown as error:
            cure = error.cure if isinstance(error, NoAnswer) else ""
            return AgentAnswer(str(error), time.time(), cure)
        return AgentAnswer(status, time.time())


@dataclass(frozen=True)
class _GroupRead:
    """One group of a tier, as it was read."""

    name: str
    resource: Resource | None
    vms: list[Resource]
    autoscaler: Resource | None

    @property
    def serves(self) -> bool:
        """Whether it has a VM that it does not delete."""
        return any(part(vm, "currentAction") not in LEAVES for vm in self.vms)


def _with_group(facts: TierFacts, group: _GroupRead, services: Mapping[str, Resource | None]) -> TierFacts:
    return replace(
        facts,
        group_name=group.name,
        group=group.resource,
        autoscaler=group.autoscaler,
        vms=group.vms,
        services=services,
    )


class _Reading:
    """The questions about one tier; those without an answer are kept with the reason."""

    def __init__(self, calls: Calls, project: str) -> None:
        self._calls = calls
        self._project = project
        self.unread: dict[str, str] = {}

    async def one(self, what: str, client: str, method: str, asked: Mapping[str, Any]) -> Resource | None:
        """None: there is none, or it could not be read."""
        found: Resource | None = await self._ask(what, client, method, {"project": self._project, **asked}, _as_json)
        return found

    async def vms(self, group: str, regional: str, scope: tuple[str, str]) -> list[Resource]:
        request = getattr(self._calls.types, f"ListManagedInstances{regional}InstanceGroupManagersRequest")
        asked = request(project=self._project, instance_group_manager=group, max_results=500, **{scope[0]: scope[1]})
        client = f"{regional}InstanceGroupManagersClient"
        found: list[Resource] | None = await self._ask(
            f"the VMs of group {group}",
            client,
            "list_managed_instances",
            {"request": asked},
            lambda pages: [_as_json(one) for one in pages],
        )
        return found or []

    async def _ask(
        self, what: str, client: str, method: str, arguments: Mapping[str, Any], read: Callable[[Any], Any]
    ) -> Any:
        try:
            return await self._calls.ask(what, client, method, arguments, read)
        except Refused as error:
            if error.code != 404:
                self.unread[what] = str(error)
        except Unknown as error:
            self.unread[what] = str(error)
        return None


async def _check(reading: _Reading, path: str) -> Resource | None:
    scope = path.split("/")
    asked = {"health_check": scope[-1]} | ({"region": scope[1]} if scope[0] == "regions" else {})
    client = "RegionHealthChecksClient" if scope[0] == "regions" else "HealthChecksClient"
    return await reading.one(path, client, "get", asked)


async def _template(reading: _Reading, path: str) -> Resource | None:
    scope = path.split("/")
    asked = {"instance_template": scope[-1]} | ({"region": scope[1]} if scope[0] == "regions" else {})
    client = "RegionInstanceTemplatesClient" if scope[0] == "regions" else "InstanceTemplatesClient"
    return await reading.one(path, client, "get", asked)


async def _autoscaler(reading: _Reading, path: str) -> Resource | None:
    kind, place, _, name = path.split("/")
    client = "AutoscalersClient" if kind == "zones" else "RegionAutoscalersClient"
    return await reading.one(f"autoscaler {name}", client, "get", {"autoscaler": name, kind.removesuffix("s"): place})


def _as_json(answer: Any) -> Resource:
    """As the API sends it: enums by name, and without fields that it left out."""
    found: Resource = type(answer).to_dict(
        answer, use_integers_for_enums=False, preserving_proto_field_name=False, including_default_value_fields=False
    )
    return found
