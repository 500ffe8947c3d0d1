"""Resources of every origin -> one shape, that of the API, so that a rule is written once.

Keys become camelCase, a block that stands alone becomes a map, and the few keys whose structure differs are moved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from changeover.conf.place import Place
from changeover.conf.tree import Items, Map, Node

KINDS: Mapping[str, tuple[str, bool]] = {
    "google_compute_backend_service": ("backendService", False),
    "google_compute_region_backend_service": ("backendService", True),
    "google_compute_instance_group_manager": ("instanceGroupManager", False),
    "google_compute_region_instance_group_manager": ("instanceGroupManager", True),
    "google_compute_health_check": ("healthCheck", False),
    "google_compute_region_health_check": ("healthCheck", True),
    "google_compute_http_health_check": ("healthCheck", False),
    "google_compute_https_health_check": ("healthCheck", False),
    "google_compute_autoscaler": ("autoscaler", False),
    "google_compute_region_autoscaler": ("autoscaler", True),
    "google_compute_instance_template": ("instanceTemplate", False),
    "google_compute_region_instance_template": ("instanceTemplate", True),
    "google_compute_instance": ("instance", False),
    "google_compute_url_map": ("urlMap", False),
    "google_compute_region_url_map": ("urlMap", True),
    "google_compute_target_pool": ("targetPool", True),
    "google_compute_global_network_endpoint_group": ("networkEndpointGroup", False),
    "google_compute_region_network_endpoint_group": ("networkEndpointGroup", True),
    "google_compute_network_endpoint_group": ("networkEndpointGroup", False),
}
"""Terraform's type -> the API's kind, and whether it is a region's."""
_MOVED: Mapping[str, tuple[str, ...]] = {
    "connectionDrainingTimeoutSec": ("connectionDraining", "drainingTimeoutSec"),
    "maxSurgeFixed": ("maxSurge", "fixed"),
    "maxSurgePercent": ("maxSurge", "percent"),
    "maxUnavailableFixed": ("maxUnavailable", "fixed"),
    "maxUnavailablePercent": ("maxUnavailable", "percent"),
    "backend": ("backends",),
    "version": ("versions",),
    "distributionPolicyZones": ("distributionPolicy", "zones"),
    "pathRule": ("pathRules",),
    "pathMatcher": ("pathMatchers",),
}
UNMOVED: Mapping[tuple[str, ...], str] = {path: name for name, path in _MOVED.items() if len(path) > 1}
"""Paths of the API -> the one key of Terraform and of Config Connector, in camelCase."""
_CONNECTOR = re.compile(r"(?<!^)(?=[A-Z])")


def kind_of(type: str) -> tuple[str, bool] | None:
    """Of `google_compute_backend_service`, or of Config Connector's `ComputeBackendService`."""
    if type.startswith("Compute"):
        type = "google_" + _CONNECTOR.sub("_", type).lower().replace("u_r_l", "url")
    return KINDS.get(type)


def shaped(node: Map) -> Map:
    """The map with the API's keys."""
    items: dict[str, Node] = {}
    keys: dict[str, Place] = {}
    for name, value in node.items.items():
        if isinstance(value, Items) and len(value.values) == 1 and isinstance(value.values[0], Map):
            value = value.values[0]
        inner = _inner(value)
        path = _MOVED.get(_camel(name), (_camel(name),))
        place = node.keys.get(name, value.place)
        if len(path) == 1:
            items[path[0]], keys[path[0]] = inner, place
            continue
        around = items.get(path[0])
        own = dict(around.items) if isinstance(around, Map) else {}
        own_keys = dict(around.keys) if isinstance(around, Map) else {}
        items[path[0]] = Map(place, 2, {**own, path[1]: inner}, {**own_keys, path[1]: place})
        keys.setdefault(path[0], place)
    return Map(node.place, node.size, items, keys)


def _inner(value: Node) -> Node:
    if isinstance(value, Map):
        return shaped(value)
    if isinstance(value, Items):
        return Items(value.place, value.size, tuple(map(_inner, value.values)))
    return value


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name)
