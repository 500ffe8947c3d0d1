"""The methods of instances, and those of zones, regions and the project."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from tests.gcp.fake.balancers.services import Services
from tests.gcp.fake.clock import Clock
from tests.gcp.fake.machines.machines import Machines
from tests.gcp.fake.resources import listing, rules
from tests.gcp.fake.resources.links import link
from tests.gcp.fake.resources.operations import Operations
from tests.gcp.fake.wire.discovery import Call
from tests.gcp.fake.wire.errors import Json, not_found

Regions = Mapping[str, list[str]]


class Instances:
    def __init__(self, machines: Machines, services: Services, operations: Operations, clock: Clock) -> None:
        self._machines = machines
        self._services = services
        self._operations = operations
        self._clock = clock

    def answer(self, call: Call, verb: str, query: Mapping[str, str]) -> Json:
        path = f"projects/{call.args['project']}/zones/{call.args['zone']}/instances"
        if verb == "list":
            items = [vm.resource() for vm in self._machines.under(path)]
            return {"kind": "compute#instanceList", "id": path, "selfLink": link(path), **listing.page(items, query)}
        vm = self._machines.get(f"{path}/{call.args['instance']}")
        if verb == "get":
            return vm.resource()
        if verb == "delete":

            async def effect() -> None:
                """Not drained: a group notices, and repairs the instance."""
                await vm.shut_down(self._clock)
                await self._services.forget(vm)
                self._machines.forget(vm)

            return self._operations.start(call, query, vm.resource(), effect)
        raise rules.refuse_unknown(f"{call.method} is not implemented")


class Places:
    def __init__(self, project: str, regions: Regions, stamp: str) -> None:
        self._project = project
        self._regions = regions
        self._stamp = stamp

    def zones(self, region: str) -> list[str]:
        return list(self._regions.get(region, []))

    def answer(self, call: Call, collection: str, verb: str, query: Mapping[str, str]) -> Json:
        if collection == "projects" and verb == "get":
            path = f"projects/{self._project}"
            return {**self._common("project", self._project, path), "defaultServiceAccount": "fake@example.com"}
        zones = {zone: region for region, zones in self._regions.items() for zone in zones}
        made = {
            "zones": {zone: self._zone(zone, region) for zone, region in zones.items()},
            "regions": {region: self._region(region) for region in self._regions},
        }[collection]
        if verb == "list":
            path = f"projects/{self._project}/{collection}"
            kind = f"compute#{collection.removesuffix('s')}List"
            return {"kind": kind, "id": path, "selfLink": link(path), **listing.page(made.values(), query)}
        name = call.args[collection.removesuffix("s")]
        if name not in made:
            raise not_found(f"projects/{self._project}/{collection}/{name}")
        return made[name]

    def _zone(self, zone: str, region: str) -> Json:
        resource = self._common("zone", zone, f"projects/{self._project}/zones/{zone}")
        return {**resource, "status": "UP", "region": link(f"projects/{self._project}/regions/{region}")}

    def _region(self, region: str) -> Json:
        resource = self._common("region", region, f"projects/{self._project}/regions/{region}")
        zones = [link(f"projects/{self._project}/zones/{zone}") for zone in self._regions[region]]
        return {**resource, "status": "UP", "zones": zones}

    def _common(self, kind: str, name: str, path: str) -> Json:
        return {
            "kind": f"compute#{kind}",
            "id": str(1000 + sum(name.encode())),
            "name": name,
            "selfLink": link(path),
            "creationTimestamp": self._stamp,
        }


async def gone(machines: Machines) -> None:
    """Power every VM off."""
    await asyncio.gather(*(vm.power_off() for vm in machines))
