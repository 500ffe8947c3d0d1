"""Reads what is true of a tier: its groups, their VMs, their autoscalers, backend services and its URL map.

`up`, `roll` and `doctor` judge the same answers. Changes nothing, and takes no missing answer for a good one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from changeover.doctor.facts import LEAVES, GroupFacts, Resource, below_project, part
from changeover.model.chain import Chain, Tier
from changeover.model.platform import InstanceTemplate
from changeover.platforms.gcp.api.calls import Calls, Refused
from changeover.platforms.gcp.api.groups import Group, ManagedVm, group_of, vm_of
from changeover.platforms.gcp.api.services import Service, service_of
from changeover.platforms.gcp.api.url_maps import url_map_of
from changeover.platforms.gcp.quota import PAGE
from changeover.ports import Unknown


@dataclass(frozen=True)
class GroupRead:
    """One group of a tier."""

    name: str
    resource: Resource | None
    group: Group | None
    listed: list[Resource]
    vms: Mapping[str, ManagedVm]
    """Those that it does not delete."""
    autoscaler: Resource | None

    @property
    def is_empty(self) -> bool:
        return not self.vms and not (self.group is not None and self.group.size)


@dataclass(frozen=True)
class TierRead:
    """A tier. `facts`: of the group that has the instances, and of the other one; `groups`: in the same order."""

    facts: GroupFacts
    groups: tuple[GroupRead, ...]
    services: Mapping[str, Service]
    """By name: those that exist."""


class Reader:
    """Of one chain. `templates`: tier -> its templates."""

    def __init__(self, chain: Chain, templates: Mapping[str, Mapping[str, InstanceTemplate]], calls: Calls) -> None:
        platform = chain.platform
        assert platform.project is not None
        self._project = platform.project
        self._scope = ("zone", platform.zone) if platform.zone is not None else ("region", platform.region or "")
        self._region = platform.region or (platform.zone or "").rpartition("-")[0]
        self._templates = templates
        self._calls = calls

    def questions(self) -> Questions:
        return Questions(self._calls, self._project)

    async def read(self, tier: Tier) -> TierRead:
        """What is true of the tier at this moment."""
        assert tier.agent is not None
        asked, traffic = self.questions(), tier.traffic
        groups, services, url_map = await asyncio.gather(
            asyncio.gather(*(self._group(asked, name) for name in tier.groups)),
            asyncio.gather(*(self._service(asked, name) for name in tier.services)),
            self._near(asked, f"URL map {traffic.url_map}", "UrlMaps", {"url_map": traffic.url_map}, _url_map)
            if traffic is not None
            else _nothing(),
        )
        by_name = dict(zip(tier.services, services, strict=True))
        serving, *idle = sorted(groups, key=lambda one: one.is_empty)  # of two that have VMs, the first one

        def behind(group: GroupRead) -> Mapping[str, Resource | None]:
            found = {name: by_name[name] for name in tier.services_of(group.name)}
            return {name: one[0] if one is not None else None for name, one in found.items()}

        facts = GroupFacts(
            tier=tier.name,
            kind=tier.kind,
            place=f"--{self._scope[0]}={self._scope[1]}",
            group_name=serving.name,
            group=serving.resource,
            autoscaler=serving.autoscaler,
            vms=serving.listed,
            services=behind(serving),
            paths={name: one.path for name, one in self._templates[tier.name].items()},
            agent_port=tier.agent.port,
            agent_tls=tier.agent.tls is not None,
            size=tier.size if "size" in tier.model_fields_set else None,
            has_router=tier.router is not None,
            url_map_name=traffic.url_map if traffic is not None else "",
            url_map=url_map,
            unread=asked.unread,
        )
        others = [
            replace(
                facts,
                group_name=one.name,
                group=one.resource,
                autoscaler=one.autoscaler,
                vms=one.listed,
                services=behind(one),
            )
            for one in idle
        ]
        return TierRead(
            replace(facts, idle=others[0] if others else None),
            (serving, *idle),
            {name: one[1] for name, one in by_name.items() if one is not None},
        )

    async def _group(self, asked: Questions, name: str) -> GroupRead:
        regional = "Region" if self._scope[0] == "region" else ""
        where = {"instance_group_manager": name, self._scope[0]: self._scope[1]}
        client = f"{regional}InstanceGroupManagersClient"
        group, vms = await asyncio.gather(
            asked.one(f"group {name}", client, "get", where, lambda answer: (as_json(answer), group_of(answer))),
            asked.vms(name, regional, self._scope),
        )
        resource = group[0] if group is not None else None
        autoscaler = below_project(part(resource, "status.autoscaler", ""))
        return GroupRead(
            name,
            resource,
            group[1] if group is not None else None,
            [listed for listed, _ in vms],
            {vm.name: vm for _, vm in vms if vm.action not in LEAVES},
            await _autoscaler(asked, autoscaler) if autoscaler else None,
        )

    async def _service(self, asked: Questions, name: str) -> tuple[Resource, Service] | None:
        def read(answer: Any, region: str) -> tuple[Resource, Service]:
            return as_json(answer), service_of(answer, region)

        what = f"backend service {name}"
        found: tuple[Resource, Service] | None
        found = await self._near(asked, what, "BackendServices", {"backend_service": name}, read)
        return found

    async def _near(
        self, asked: Questions, what: str, kind: str, named: Mapping[str, str], read: Callable[[Any, str], Any]
    ) -> Any:
        """The region's, else the global one."""
        region = {**named, "region": self._region}
        found = await asked.one(what, f"Region{kind}Client", "get", region, lambda one: read(one, self._region))
        if found is not None:
            return found
        return await asked.one(what, f"{kind}Client", "get", named, lambda one: read(one, ""))


class Questions:
    """Those about one tier; the ones without an answer are kept with the reason."""

    def __init__(self, calls: Calls, project: str) -> None:
        self._calls = calls
        self._project = project
        self.unread: dict[str, str] = {}

    async def one(
        self, what: str, client: str, method: str, asked: Mapping[str, Any], read: Callable[[Any], Any]
    ) -> Any:
        """As `read` reads it. None: there is none, or it could not be read."""
        return await self._ask(what, client, method, {"project": self._project, **asked}, read)

    async def resource(self, what: str, client: str, method: str, asked: Mapping[str, Any]) -> Resource | None:
        """As the API sends it. None: there is none, or it could not be read."""
        found: Resource | None = await self.one(what, client, method, asked, as_json)
        return found

    async def vms(self, group: str, regional: str, scope: tuple[str, str]) -> list[tuple[Resource, ManagedVm]]:
        request = getattr(self._calls.types, f"ListManagedInstances{regional}InstanceGroupManagersRequest")
        asked = request(project=self._project, instance_group_manager=group, max_results=PAGE, **{scope[0]: scope[1]})
        client, what = f"{regional}InstanceGroupManagersClient", f"the VMs of group {group}"
        found: list[tuple[Resource, ManagedVm]] | None = await self._ask(
            what,
            client,
            "list_managed_instances",
            {"request": asked},
            lambda pages: [(as_json(one), vm_of(one)) for one in pages],
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


async def _autoscaler(asked: Questions, path: str) -> Resource | None:
    kind, place, _, name = path.split("/")
    client = "AutoscalersClient" if kind == "zones" else "RegionAutoscalersClient"
    return await asked.resource(
        f"autoscaler {name}", client, "get", {"autoscaler": name, kind.removesuffix("s"): place}
    )


async def _nothing() -> None:
    return None


def _url_map(answer: Any, _: str) -> Any:
    return url_map_of(answer)


def as_json(answer: Any) -> Resource:
    """As the API sends it: enums by name, and without fields that it left out."""
    found: Resource = type(answer).to_dict(
        answer, use_integers_for_enums=False, preserving_proto_field_name=False, including_default_value_fields=False
    )
    return found
