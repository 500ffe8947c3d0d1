"""Backend services, global and regional: how they drain and check, and what they say about each VM of a group.

`getHealth` may be behind, and it may be empty. What it does not say is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from changeover.platforms.gcp.api.calls import Calls, Refused
from changeover.platforms.gcp.api.groups import path_below_project


@dataclass(frozen=True)
class Service:
    """A backend service. `region`: empty for a global one. `groups`, `checks`: paths below the project."""

    name: str
    region: str
    groups: tuple[str, ...]
    checks: tuple[str, ...]
    protocol: str
    port_name: str
    drain: float
    """Seconds for which its requests go on after a VM is taken out: what deleting a VM waits for."""

    @property
    def kind(self) -> str:
        return "RegionBackendServicesClient" if self.region else "BackendServicesClient"


class Services:
    """The backend services of a project that a region's groups can be in."""

    def __init__(self, calls: Calls, project: str, region: str) -> None:
        self._calls = calls
        self._project = project
        self._region = region

    async def get(self, name: str) -> Service:
        """The service of that name: the region's, else the global one. Raises Refused, and Unknown."""
        try:
            return await self._get(name, self._region)
        except Refused as error:
            if error.code != 404:
                raise
        return await self._get(name, "")

    async def _get(self, name: str, region: str) -> Service:
        where = {"project": self._project} | ({"region": region} if region else {})
        client = "RegionBackendServicesClient" if region else "BackendServicesClient"
        return await self._calls.ask(
            f"backend service {name}",
            client,
            "get",
            {"backend_service": name, **where},
            lambda found: _service(found, region),
        )

    async def health(self, service: Service, group: str) -> Mapping[str, tuple[str, ...]]:
        """Name of a VM -> its states, one for each of its ports. Raises Refused, and Unknown."""
        where = {"project": self._project} | ({"region": service.region} if service.region else {})
        reference = self._calls.types.ResourceGroupReference(
            group=f"https://www.googleapis.com/compute/v1/projects/{self._project}/{group}"
        )
        return await self._calls.ask(
            f"backend service {service.name}",
            service.kind,
            "get_health",
            {"backend_service": service.name, "resource_group_reference_resource": reference, **where},
            _health,
        )


def _service(found: Any, region: str) -> Service:
    return Service(
        name=found.name,
        region=region,
        groups=tuple(path_below_project(backend.group) for backend in found.backends),
        checks=tuple(path_below_project(check) for check in found.health_checks),
        protocol=found.protocol or "HTTP",
        port_name=found.port_name or "http",
        drain=float(found.connection_draining.draining_timeout_sec),
    )


def _health(answer: Any) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for one in answer.health_status:
        name = one.instance.rpartition("/")[2]
        found[name] = (*found.get(name, ()), one.health_state)
    return found
