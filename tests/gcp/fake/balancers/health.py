"""getHealth of backend services."""

from __future__ import annotations

from tests.gcp.fake.balancers.services import Services, path_in
from tests.gcp.fake.machines.machines import group_link
from tests.gcp.fake.resources.links import link, name_of
from tests.gcp.fake.wire.errors import Json, invalid
from tests.gcp.fake.wire.faults import Faults

KIND = "compute#backendServiceGroupHealth"


class Health:
    def __init__(self, services: Services, faults: Faults) -> None:
        self._services = services
        self._faults = faults
        self._last: dict[tuple[str, str], Json] = {}

    async def answer(self, path: str, group_url: str, managers: list[str]) -> Json:
        """The members of one group, as this service's own checks see them. Those that are being drained have left it.

        Field group: "one of the instance groups ... listed in the backend service".
        """
        service = self._services.get(path)
        manager = next((each for each in managers if path_in(group_url, group_link(each))), None)
        if manager is None or not service.has(manager):
            raise invalid("resource.group", group_url, "The group is not a backend of the backend service.")
        fault = self._faults.health(name_of(path))
        if fault == "empty":
            return {"kind": KIND}
        if fault == "stale" and (path, manager) in self._last:
            return self._last[path, manager]
        healthy = await service.healthy()
        port = service.port(manager)
        found = [
            {
                "instance": link(vm.path),
                "ipAddress": vm.address,
                "port": port,
                "healthState": "HEALTHY" if name in healthy else "UNHEALTHY",
            }
            for name, vm in service.members(manager)
        ]
        self._last[path, manager] = answer = {"kind": KIND, **({"healthStatus": found} if found else {})}
        return answer
