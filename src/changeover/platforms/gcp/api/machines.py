"""The addresses of VMs, and whether an instance template exists."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from changeover.platforms.gcp.api.calls import Calls, Refused
from changeover.platforms.gcp.api.groups import ManagedVm
from changeover.platforms.gcp.quota import FEW, PAGE


class Machines:
    """What a project has besides groups and backend services."""

    def __init__(self, calls: Calls, project: str) -> None:
        self._calls = calls
        self._project = project

    async def addresses(self, vms: Collection[ManagedVm]) -> Mapping[str, str]:
        """Name -> the address of its first interface, for those that have one. Raises Refused, and Unknown."""
        zones: dict[str, list[ManagedVm]] = {}
        for vm in vms:
            zones.setdefault(vm.zone, []).append(vm)
        found: dict[str, str] = {}
        for zone in await asyncio.gather(*(self._of_zone(zone, of) for zone, of in zones.items())):
            found |= zone
        return {name: address for name, address in found.items() if address}

    async def _of_zone(self, zone: str, vms: list[ManagedVm]) -> Mapping[str, str]:
        if len(vms) > FEW:
            names = {vm.name for vm in vms}
            request = self._calls.types.ListInstancesRequest(project=self._project, zone=zone, max_results=PAGE)
            listed = await self._calls.ask(
                f"the VMs of {zone}", "InstancesClient", "list", {"request": request}, _addresses
            )
            return {name: address for name, address in listed.items() if name in names}
        return dict(
            zip((vm.name for vm in vms), await asyncio.gather(*(self._of(zone, vm) for vm in vms)), strict=True)
        )

    async def _of(self, zone: str, vm: ManagedVm) -> str:
        try:
            return await self._calls.ask(
                f"VM {vm.name}",
                "InstancesClient",
                "get",
                {"project": self._project, "zone": zone, "instance": vm.name},
                _address,
            )
        except Refused as error:
            if error.code == 404:  # the group has listed it before Compute Engine knows it
                return ""
            raise

    async def has_template(self, path: str) -> bool:
        """Whether the instance template exists. `path`: below the project."""
        *scope, _, name = path.split("/")
        where = {"region": scope[1]} if scope[0] == "regions" else {}
        client = "RegionInstanceTemplatesClient" if where else "InstanceTemplatesClient"
        try:
            return await self._calls.ask(
                f"instance template {name}",
                client,
                "get",
                {"project": self._project, "instance_template": name, **where},
                lambda found: bool(found.name),
            )
        except Refused as error:
            if error.code == 404:
                return False
            raise


def _address(vm: Any) -> str:
    return next((str(interface.network_i_p) for interface in vm.network_interfaces), "")


def _addresses(pages: Any) -> Mapping[str, str]:
    return {vm.name: _address(vm) for vm in pages}
