"""The permissions that a controller needs, as a list and as a custom role; and what it was refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import yaml

from changeover.doctor.diagnosis import Diagnosis, Severity
from changeover.doctor.facts import GroupFacts

PERMISSIONS: Mapping[str, str] = MappingProxyType(
    {
        "compute.instanceGroupManagers.get": "read a group and its policy",
        "compute.instanceGroupManagers.list": "list the VMs of a group (listManagedInstances)",
        "compute.instanceGroupManagers.update": "change its version and policy, create and delete named VMs",
        "compute.instances.get": "read the addresses of VMs",
        "compute.instances.list": "read them for a whole group at once",
        "compute.instanceTemplates.get": "check that the way back exists",
        "compute.instanceTemplates.useReadOnly": "name a template as the version of a group",
        "compute.autoscalers.get": "see an autoscaler that is on",
        "compute.backendServices.get": "read a global backend service and the health of its VMs (getHealth)",
        "compute.regionBackendServices.get": "the same of a regional one",
        "compute.healthChecks.get": "see what a global health check asks",
        "compute.regionHealthChecks.get": "the same of a regional one",
        "compute.zoneOperations.get": "wait for what was asked of a zonal group",
        "compute.regionOperations.get": "wait for what was asked of a regional group",
    }
)
"""Permission -> what it is needed for: docs/doctor.md says where each is from. The group itself creates the VMs, by the
service agent of the project."""
SWITCHING: Mapping[str, str] = MappingProxyType(
    {
        "compute.backendServices.update": "make a group a backend of a global backend service, and take it out again",
        "compute.regionBackendServices.update": "the same of a regional one",
        "compute.instanceGroups.use": "name a group as a backend",
        "compute.healthChecks.useReadOnly": "keep the global health check of a backend service that is changed",
        "compute.regionHealthChecks.useReadOnly": "the same of a regional one",
        "compute.globalOperations.get": "wait for what was asked of a global backend service",
    }
)
"""The same for a tier with a second group: its switch changes backend services."""
WEIGHING: Mapping[str, str] = MappingProxyType(
    {
        "compute.urlMaps.get": "read the weights of a global URL map",
        "compute.urlMaps.update": "change them",
        "compute.regionUrlMaps.get": "read the weights of a regional one",
        "compute.regionUrlMaps.update": "change them",
        "compute.backendServices.use": "keep the global services that a URL map names",
        "compute.regionBackendServices.use": "the same of regional ones",
        "compute.globalOperations.get": "wait for what was asked of a global URL map",
    }
)
"""The same for a tier with `traffic`: it changes a URL map, and no backend service."""
_LIMITED = re.compile(r"quota|rate ?limit", re.IGNORECASE)
"""Of a 403 that a permission would not cure."""
UNREAD = frozenset({"permission-missing", "unread"})
"""The checks that tell of a resource that nothing is known of."""


def needed(*, switching: bool = False, weighing: bool = False) -> Mapping[str, str]:
    """`switching`: a tier of the chain has two groups that take turns; `weighing`: two with weights between them."""
    return {**PERMISSIONS, **(SWITCHING if switching else {}), **(WEIGHING if weighing else {})}


def custom_role(permissions: Mapping[str, str]) -> str:
    """For `gcloud iam roles create changeover --project=PROJECT --file=role.yaml`."""
    text: str = yaml.safe_dump(
        {
            "title": "changeover",
            "description": "Roll managed instance groups: read groups, balancers and templates, replace VMs.",
            "stage": "GA",
            "includedPermissions": list(permissions),
        },
        sort_keys=False,
        width=120,
    )
    return text


def check(facts: GroupFacts) -> Iterator[Diagnosis]:
    """What could not be read is unknown, and unknown is never fine."""
    for what, why in facts.unread.items():
        refused = "ermission" in why or (": 403: " in why and not _LIMITED.search(why))
        yield Diagnosis(
            "permission-missing" if refused else "unread",
            Severity.FATAL,
            facts.where,
            f"{what} could not be read: {why}",
            "unknown: whatever this check protects may break",
            "unknown: whatever this check protects may break",
            "changeover doctor --role > role.yaml && gcloud iam roles create changeover --project=PROJECT "
            "--file=role.yaml, and grant it to the account of the controller"
            if refused
            else "Run `changeover doctor` again; the message names the cause.",
        )
