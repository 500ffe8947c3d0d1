"""Managed instance groups, zonal and regional: one adapter for both, and what they answer as plain data.

Every mutation is DONE when it is scheduled; only the list of the VMs shows the outcome.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from changeover.model.platform import PlatformSettings
from changeover.platforms.gcp.api.calls import Calls
from changeover.platforms.gcp.api.operations import Operation, Operations, OperationTiming, read
from changeover.platforms.gcp.quota import PAGE

LEAVES = frozenset({"DELETING", "ABANDONING"})
"""Actions of a group after which a VM is no longer one of it."""
ANEW = frozenset({"RECREATING", "VERIFYING_RECREATE"})
STOPS = frozenset({"STOPPING", "STOPPED", "SUSPENDING", "SUSPENDED", "TERMINATED", "PENDING_STOP", "DEPROVISIONING"})
"""States of a VM that runs no more, or not for long."""


@dataclass(frozen=True)
class ManagedVm:
    """One VM, as its group lists it. `url`: below the project. `template`: the path of the one it was made from."""

    name: str
    url: str
    number: str
    """The VM's id, another one after it was created anew."""
    action: str
    status: str
    template: str
    errors: tuple[str, ...] = ()
    """Why the last attempt of the group's action failed."""
    version: str = ""
    """The name of its version."""

    @property
    def zone(self) -> str:
        return self.url.split("/")[1]


@dataclass(frozen=True)
class Group:
    """A group, as far as a rollout needs it. Links are paths below the project."""

    name: str
    link: str
    """Of the instance group that backend services name."""
    fingerprint: str
    size: int
    versions: tuple[str, ...]
    """The paths of the instance templates."""
    update_type: str
    redistribution: str


def path_below_project(link: str) -> str:
    """Links may have any host and version: `…/projects/P/zones/Z/instances/N` -> `zones/Z/instances/N`."""
    _, found, rest = link.partition("/projects/")
    return rest.partition("/")[2] if found else link


class Groups:
    """The groups of one zone or region."""

    def __init__(self, calls: Calls, settings: PlatformSettings, timing: OperationTiming) -> None:
        self._calls = calls
        assert settings.project is not None
        scope = ("zone", settings.zone) if settings.zone is not None else ("region", settings.region or "")
        self._regional = "" if settings.zone is not None else "Region"
        self._project = settings.project
        self._where = {"project": settings.project, scope[0]: scope[1]}
        self._client = f"{self._regional}InstanceGroupManagersClient"
        self._operations = Operations(calls, settings.project, scope, timing)
        self._place = f"{scope[0]} {scope[1]}"

    async def get(self, name: str) -> Group:
        """Raises Refused, and Unknown."""
        what = f"group {name} in {self._place}"
        return await self._calls.ask(
            what, self._client, "get", {"instance_group_manager": name, **self._where}, group_of
        )

    async def vms(self, name: str) -> Mapping[str, ManagedVm]:
        """Its VMs by name. Raises Refused, and Unknown."""
        request = getattr(self._calls.types, f"ListManagedInstances{self._regional}InstanceGroupManagersRequest")
        asked = request(instance_group_manager=name, max_results=PAGE, **self._where)
        what = f"the VMs of group {name}"
        found = await self._calls.ask(what, self._client, "list_managed_instances", {"request": asked}, _vms)
        return {vm.name: vm for vm in found}

    async def create(self, name: str, vms: Sequence[str], request_id: str) -> Operation:
        """Ask for VMs of these names, 1,000 at most, from the version of the group."""
        types = self._calls.types
        body = getattr(types, f"{self._regional}InstanceGroupManagersCreateInstancesRequest")(
            instances=[types.PerInstanceConfig(name=vm) for vm in vms]
        )
        return await self._mutate(f"to create VMs in group {name}", "CreateInstances", name, body, request_id)

    async def delete(self, name: str, urls: Sequence[str], request_id: str) -> Operation:
        """Ask for these VMs, 1,000 at most, to be deleted, and the size of the group to fall by as many."""
        links = [f"projects/{self._project}/{url}" for url in urls]
        body = getattr(self._calls.types, f"{self._regional}InstanceGroupManagersDeleteInstancesRequest")(
            instances=links, skip_instances_on_validation_error=True
        )
        return await self._mutate(f"to delete VMs of group {name}", "DeleteInstances", name, body, request_id)

    async def finish(self, what: str, operation: Operation) -> None:
        """Wait until it is DONE. Raises Refused, and Unknown."""
        await self._operations.finish(what, operation)

    async def patch(
        self, group: Group, request_id: str, *, versions: Mapping[str, str], policy: Mapping[str, str] | None = None
    ) -> Operation:
        """Change versions and update policy, if no other client has changed the group since it was read.

        `versions`: the path of each template with the version's name; empty: as they are.
        """
        types = self._calls.types
        body = types.InstanceGroupManager(fingerprint=group.fingerprint)
        if versions:
            links = {f"projects/{self._project}/{path}": name for path, name in versions.items()}
            body.versions = [
                types.InstanceGroupManagerVersion(instance_template=link, name=name or None)
                for link, name in links.items()
            ]
        if policy:
            body.update_policy = types.InstanceGroupManagerUpdatePolicy(**policy)
        return await self._mutate(f"to change group {group.name}", "Patch", group.name, body, request_id)

    async def _mutate(self, what: str, method: str, group: str, body: Any, request_id: str) -> Operation:
        small = {"CreateInstances": "create_instances", "DeleteInstances": "delete_instances", "Patch": "patch"}[method]
        prefix = "region_" if self._regional else ""
        field = (
            "instance_group_manager_resource"
            if method == "Patch"
            else f"{prefix}instance_group_managers_{small}_request_resource"
        )
        request = getattr(self._calls.types, f"{method}{self._regional}InstanceGroupManagerRequest")
        asked = request(instance_group_manager=group, request_id=request_id, **{field: body}, **self._where)
        return await self._calls.ask(what, self._client, f"{small}_unary", {"request": asked}, read)


def group_of(answer: Any) -> Group:
    """What an answer of the API says."""
    policy = answer.update_policy
    versions = [version.instance_template for version in answer.versions] or [answer.instance_template]
    return Group(
        name=answer.name,
        link=path_below_project(answer.instance_group),
        fingerprint=answer.fingerprint,
        size=int(answer.target_size),
        versions=tuple(path_below_project(link) for link in versions),
        update_type=policy.type_ or "OPPORTUNISTIC",
        redistribution=policy.instance_redistribution_type or "",
    )


def _vms(pages: Any) -> list[ManagedVm]:
    """All pages; a group that does not paginate answers with one, whatever was asked for."""
    return [vm_of(one) for one in pages]


def vm_of(one: Any) -> ManagedVm:
    """What an answer of the API says."""
    return ManagedVm(
        name=one.name or one.instance.rpartition("/")[2],
        url=path_below_project(one.instance),
        number=str(one.id or ""),
        action=one.current_action,
        status=one.instance_status,
        template=path_below_project(one.version.instance_template),
        errors=tuple(f"{error.code}: {error.message}" for error in one.last_attempt.errors.errors),
        version=one.version.name,
    )
