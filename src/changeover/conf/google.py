"""Reads what Google Cloud and its tools print: `gcloud … describe`, Config Connector, `terraform show -json`; and the
manifests of GKE that set up a backend service: BackendConfig and GCPBackendPolicy.

Refuses to join resources: that is a matter of names, and the auditor's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from changeover.conf.document import Document
from changeover.conf.place import Place, Unreadable
from changeover.conf.tree import Items, Map, Node, parse

_GKE = ("BackendConfig", "GCPBackendPolicy")
"""Kinds of `cloud.google.com` and `networking.gke.io`."""
_SIGN = re.compile(
    r"\bcompute#\w+|compute\.cnrm\.cloud\.google\.com|googleapis\.com/compute/"
    r"|\"planned_values\"\s*:|\"terraform_version\"\s*:|kind[\"']?:[ \t]*[\"']?(?:BackendConfig|GCPBackendPolicy)\b"
)
_WORDS = ("compute", *_GKE, "planned_values", "terraform_version")
_LINK = re.compile(r"/compute/\w+/projects/[^/]+/(?:global|regions/[^/]+|zones/[^/]+)/(\w+)/")
_KINDS = {
    "backendServices": "backendService",
    "instanceGroupManagers": "instanceGroupManager",
    "healthChecks": "healthCheck",
    "autoscalers": "autoscaler",
    "instanceTemplates": "instanceTemplate",
    "instances": "instance",
    "urlMaps": "urlMap",
    "targetPools": "targetPool",
    "networkEndpointGroups": "networkEndpointGroup",
}
Origin = Literal["api", "connector", "plan", "gke"]


@dataclass(frozen=True)
class GoogleNode:
    """`type` is a kind of the API (`backendService`), Config Connector (`ComputeBackendService`), Terraform or GKE."""

    origin: Origin
    type: str
    name: str
    body: Map


@dataclass(frozen=True)
class GoogleFile(Document):
    resources: tuple[GoogleNode, ...]


def recognises(text: str, file: str) -> bool:
    # The plain words first: they cost a tenth of the pattern, and few files have one.
    return any(word in text for word in _WORDS) and _SIGN.search(text) is not None


def read(text: str, file: str) -> tuple[GoogleFile, ...]:
    """Raises Unreadable."""
    found = tuple(one for root in parse(text, file) for one in _resources(root))
    if not found:
        raise Unreadable("no resource of Google Compute Engine is in it", Place(file))
    return (GoogleFile(file, found),)


def _resources(root: Node) -> Iterator[GoogleNode]:
    if isinstance(root, Items):
        for one in root.values:
            yield from _resources(one)
    elif isinstance(root, Map):
        if root.text("kind") == "List" or "items" in root.items:
            for one in root.maps("items"):
                yield from _resources(one)
        elif "planned_values" in root.items or "terraform_version" in root.items:
            for key in ("planned_values", "values"):
                yield from _planned(root.get(key, "root_module"), 0)
        elif (root.text("apiVersion") or "").startswith("compute.cnrm."):
            yield GoogleNode("connector", root.text("kind") or "", root.text("metadata", "name") or "", _spec(root))
        elif (kind := root.text("kind") or "") in _GKE:
            spec = _spec(root)
            default = spec.get("default") if kind == "GCPBackendPolicy" else None
            body = default if isinstance(default, Map) else spec
            yield GoogleNode("gke", kind, root.text("metadata", "name") or "", body)
        else:
            kind = (root.text("kind") or "").removeprefix("compute#")
            link = _LINK.search(root.text("selfLink") or "")
            if kind or link:
                yield GoogleNode("api", kind or _KINDS.get(link[1] if link else "", ""), root.text("name") or "", root)


def _spec(root: Map) -> Map:
    found = root.get("spec")
    return found if isinstance(found, Map) else Map(root.place, 1, {}, {})


def _planned(module: Node | None, depth: int) -> Iterator[GoogleNode]:
    if module is None or depth > 20:
        return
    for one in module.maps("resources"):
        body = one.get("values")
        if isinstance(body, Map) and one.text("mode") != "data":
            yield GoogleNode("plan", one.text("type") or "", one.text("address") or "", body)
    for inner in module.maps("child_modules"):
        yield from _planned(inner, depth + 1)
