"""Whether a group can be adopted, and every reason why not. Pure: what was read of it gives instances or problems."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from changeover.doctor import healing
from changeover.model.chain import Tier
from changeover.model.errors import Problem
from changeover.model.platform import AgentSettings
from changeover.platforms.gcp.api.groups import LEAVES, Group, ManagedVm
from changeover.platforms.gcp.api.services import Service

_UNCHANGED = "Nothing was changed."


@dataclass(frozen=True)
class Found:
    """What was read of a tier's group. `scaled`: an autoscaler changes its size."""

    group: Group
    vms: Mapping[str, ManagedVm]
    services: tuple[Service, ...]
    scaled: bool

    @property
    def is_empty(self) -> bool:
        """Whether it has no VM but those that it deletes."""
        return self.group.size == 0 and all(vm.action in LEAVES for vm in self.vms.values())

    @property
    def port(self) -> int:
        """Where its instances serve: the named port of its services, or the only one; 0: it is not known."""
        names = {service.port_name for service in self.services}
        ports = {self.group.ports[name] for name in names if name in self.group.ports}
        ports = ports or (set() if self.services else set(self.group.ports.values()))
        return ports.pop() if len(ports) == 1 else 0


def templates_of(vms: Collection[ManagedVm], paths: Mapping[str, str]) -> Mapping[str, str]:
    """Name of a VM -> its template in the chain file, for those that have one. `paths`: template -> path."""
    by_path = {path: template for template, path in paths.items()}
    return {vm.name: by_path[vm.template] for vm in vms if vm.template in by_path}


def serving(groups: Sequence[Found]) -> Found:
    """The group that has the instances: of two, the first one that has VMs."""
    return next((one for one in groups if not one.is_empty), groups[0])


def refusals_of_idle(tier: Tier, idle: Found, serving: Found, place: str) -> Iterator[Problem]:
    """Why the other group of a tier cannot take the VMs of the next template."""
    group = idle.group
    where = f"tier {tier.name}, group {group.name}"
    if not idle.is_empty:
        yield Problem(
            f"both groups of the tier have VMs, {serving.group.name} and {group.name}: one of them must be empty",
            where,
            _UNCHANGED,
            "Empty the one that is to take the next template: `gcloud compute instance-groups managed resize "
            f"{group.name} --size=0 {place}`.",
        )
    if idle.port != serving.port:
        yield Problem(
            f"its VMs would serve at port {idle.port or 'none'}, those of group {serving.group.name} at {serving.port}",
            where,
            _UNCHANGED,
            f"`gcloud compute instance-groups set-named-ports {group.name} --named-ports="
            f"{','.join(f'{name}:{port}' for name, port in serving.group.ports.items())} {place}`.",
        )
    for service in idle.services if tier.traffic is not None else ():
        if group.link not in service.groups:
            yield Problem(
                f"backend service {service.name} does not have this group among its backends",
                where,
                _UNCHANGED,
                "Correct `traffic.second_service` or `backend_services`.",
            )
    yield from _of_any(tier, idle, where, place)


def refusals(tier: Tier, found: Found, paths: Mapping[str, str], place: str) -> Iterator[Problem]:
    """Why the group cannot be adopted as it is. `place`: `--zone Z` or `--region R`, for the commands of gcloud."""
    group = found.group
    where = f"tier {tier.name}, group {group.name}"
    yield from _moving(found, where)
    unknown = [vm for vm in found.vms.values() if vm.template not in paths.values()]
    if unknown:
        names = ", ".join(f"{vm.name} ({vm.template.rpartition('/')[2] or 'no template'})" for vm in unknown[:3])
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        yield Problem(
            f"VMs were made from instance templates that the chain file does not have: {names}{more}",
            where,
            _UNCHANGED,
            "Add a template with that `instance_template` to the tier.",
        )
    elif len(kinds := sorted(set(templates_of(found.vms.values(), paths).values()))) > 1:
        yield Problem(
            f"its VMs run several templates: {', '.join(kinds)}",
            where,
            _UNCHANGED,
            "Bring the group to one template first, such as by `gcloud compute instance-groups managed "
            f"rolling-action start-update {group.name} --version template=… {place}`.",
        )
    if not found.vms:
        yield Problem(
            "it has no VM",
            where,
            _UNCHANGED,
            f"Give it some: `gcloud compute instance-groups managed resize {group.name} --size=2 {place}`.",
        )
    if "size" in tier.model_fields_set and tier.size != group.size:
        yield Problem(
            f"the chain file sets its size to {tier.size}, and the group has {group.size} VMs",
            where,
            _UNCHANGED,
            f"Write `size: {group.size}`, or remove the key.",
        )
    if tier.router is not None and not found.port:
        yield Problem(
            "its router needs the port at which the VMs serve, and the group does not name one",
            where,
            _UNCHANGED,
            f"`gcloud compute instance-groups set-named-ports {group.name} --named-ports=http:PORT {place}`.",
        )
    for service in found.services:
        if group.link not in service.groups:
            yield Problem(
                f"backend service {service.name} does not have this group among its backends",
                where,
                _UNCHANGED,
                "Correct `backend_services`.",
            )
    yield from _of_any(tier, found, where, place)


def _of_any(tier: Tier, found: Found, where: str, place: str) -> Iterator[Problem]:
    """What no group may have, with VMs or without."""
    group = found.group
    if found.scaled:
        yield Problem(
            "an autoscaler changes its size, and would delete VMs that a rollout has just created",
            where,
            _UNCHANGED,
            "Turn it off: `gcloud compute instance-groups managed update-autoscaling "
            f"{group.name} --mode=off {place}`.",
        )
    for service in found.services:
        if (shared := sorted(set(service.checks) & set(group.healing_checks))) and group.heals_unhealthy:
            check = shared[0].rpartition("/")[2]
            agent = tier.agent or AgentSettings()
            scheme = "https" if agent.tls else "http"
            yield Problem(
                f"its autohealing has the health check of backend service {service.name}, {check}: the group would "
                "create an instance anew that drains, and break its requests",
                where,
                _UNCHANGED,
                "Give autohealing a health check of its own, which asks the agent at /livez: "
                f"`{healing.cure(group.name, place, shared[0], agent.port, scheme)}`.",
            )


def _moving(found: Found, where: str) -> Iterator[Problem]:
    group = found.group
    wait = "Wait for its end: `gcloud compute instance-groups managed wait-until "
    busy = [vm for vm in found.vms.values() if vm.action not in ("NONE", "")]
    if len(group.versions) > 1:
        names = " and ".join(path.rpartition("/")[2] for path in group.versions)
        yield Problem(
            f"it has two versions, {names}: a canary of another tool is in progress",
            where,
            _UNCHANGED,
            "Finish that update first, so that the group has one version.",
        )
    elif busy or not group.stable:
        acts = ", ".join(f"{vm.name} ({vm.action})" for vm in busy[:3])
        yield Problem(
            f"the group is changing: {acts or 'it is not stable'}", where, _UNCHANGED, f"{wait}{group.name} --stable`."
        )
    elif group.update_type == "PROACTIVE" and not group.at_version:
        yield Problem(
            "an update of the group itself is in progress",
            where,
            _UNCHANGED,
            f"{wait}{group.name} --version-target-reached`.",
        )
