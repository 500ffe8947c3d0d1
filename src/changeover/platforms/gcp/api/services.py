"""Backend services, global and regional: how they drain and check, and what they say about each VM of a group.

`getHealth` may be behind, and it may be empty. What it does not say is not known. Of a service only the list of its
backends is changed, by its fingerprint, for a tier of two groups that take turns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from changeover.platforms.gcp.api.calls import Calls, Refused
from changeover.platforms.gcp.api.groups import path_below_project
from changeover.platforms.gcp.api.operations import Operations, OperationTiming, read
from changeover.ports import Unknown

_ATTEMPTS = 5
"""At a service that other clients keep changing."""


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
    scheme: str = ""
    """Of its load balancer."""
    affinity: str = ""
    """What keeps a client at one VM."""

    @property
    def path(self) -> str:
        """Below the project."""
        return f"{f'regions/{self.region}' if self.region else 'global'}/backendServices/{self.name}"

    @property
    def kind(self) -> str:
        return "RegionBackendServicesClient" if self.region else "BackendServicesClient"


class Services:
    """The backend services of a project that a region's groups can be in."""

    def __init__(self, calls: Calls, project: str, region: str, timing: OperationTiming) -> None:
        self._calls = calls
        self._project = project
        self._region = region
        self._timing = timing

    async def get(self, name: str) -> Service:
        """The service of that name: the region's, else the global one. Raises Refused, and Unknown."""
        try:
            return await self._get(name, self._region)
        except Refused as error:
            if error.code != 404:
                raise
        return await self._get(name, "")

    async def _get(self, name: str, region: str) -> Service:
        found: Service = await self._ask(name, region, "get", {}, lambda answer: service_of(answer, region))
        return found

    async def change_backends(self, service: Service, *, add: str = "", like: str = "", remove: str = "") -> Service:
        """Have one group more, with the settings of the backend `like`, or one group less; the service as it is then.

        Groups are paths below the project. A service that is so already is not changed, and none loses its last
        backend. Raises Refused, and Unknown.
        """
        what = f"to change the backends of backend service {service.name}"
        scope = ("region", service.region) if service.region else None
        operations = Operations(self._calls, self._project, scope, self._timing)
        for _ in range(_ATTEMPTS):
            found = await self._ask(service.name, service.region, "get", {}, lambda answer: answer)
            body = self._changed(found, add, like, remove)
            if body is None:
                return service_of(found, service.region)
            change = {"backend_service_resource": body, "request_id": str(uuid4())}
            try:
                await operations.finish(what, await self._ask(service.name, service.region, "patch", change, read))
            except Refused as error:
                if not error.is_stale:
                    raise
        raise Unknown(f"backend service {service.name}, which other clients keep changing")

    def _changed(self, found: Any, add: str, like: str, remove: str) -> Any:
        """What to change of it; None: nothing."""
        types = self._calls.types
        there = {path_below_project(backend.group): backend for backend in found.backends}
        wanted = {path: backend for path, backend in there.items() if path != remove}
        if add and add not in wanted:
            if like not in there:
                group = like.rpartition("/")[2]
                raise Unknown(f"backend service {found.name}, which does not have group {group} any more")
            backend = types.Backend(there[like])
            backend.group = f"https://www.googleapis.com/compute/v1/projects/{self._project}/{add}"
            wanted[add] = backend
        if wanted.keys() == there.keys() or not wanted:
            return None
        return types.BackendService(fingerprint=found.fingerprint, backends=list(wanted.values()))

    async def _ask(self, name: str, region: str, method: str, more: Mapping[str, Any], read: Any) -> Any:
        where = {"project": self._project} | ({"region": region} if region else {})
        types, scope = self._calls.types, "Region" if region else ""
        request = getattr(types, f"{method.capitalize()}{scope}BackendServiceRequest")
        asked = request(backend_service=name, **where, **more)
        method = method if method == "get" else f"{method}_unary"
        client = f"{scope}BackendServicesClient"
        return await self._calls.ask(f"backend service {name}", client, method, {"request": asked}, read)

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


def service_of(found: Any, region: str) -> Service:
    """What an answer of the API says. `region`: empty for a global one."""
    return Service(
        name=found.name,
        region=region,
        groups=tuple(path_below_project(backend.group) for backend in found.backends),
        checks=tuple(path_below_project(check) for check in found.health_checks),
        protocol=found.protocol or "HTTP",
        port_name=found.port_name or "http",
        drain=float(found.connection_draining.draining_timeout_sec),
        scheme=found.load_balancing_scheme or "EXTERNAL",
        affinity=found.session_affinity or "NONE",
    )


def _health(answer: Any) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for one in answer.health_status:
        name = one.instance.rpartition("/")[2]
        found[name] = (*found.get(name, ()), one.health_state)
    return found
