"""The member list of a cluster: the file from which Envoy reads it (EDS), and what its `/clusters` shows of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from changeover.model.instance import Address, Instance


@dataclass(frozen=True)
class EnvoyEndpoint:
    """One instance of the tier behind, as Envoy sees it."""

    address: Address
    control: Address
    weight: int
    socket: str = ""
    """The path of the Unix socket at which it serves and is checked, in place of both addresses."""

    @classmethod
    def of(cls, instance: Instance, weight: int) -> EnvoyEndpoint:
        return cls(instance.address, instance.control, weight, instance.socket)

    def endpoint(self, name: str) -> dict[str, Any]:
        if self.socket:
            return {"address": {"pipe": {"path": self.socket}}, "hostname": name}
        check = {"port_value": self.control.port}
        return {"address": socket_address(self.address), "health_check_config": check, "hostname": name}

    @classmethod
    def parse(cls, endpoint: Any, weight: int) -> EnvoyEndpoint:
        """Raises KeyError and TypeError."""
        if (pipe := endpoint["address"].get("pipe")) is not None:
            return cls(_NOWHERE, _NOWHERE, weight, pipe["path"])
        at = endpoint["address"]["socket_address"]
        control = Address(at["address"], endpoint["health_check_config"]["port_value"])
        return cls(Address(at["address"], at["port_value"]), control, weight)


_NOWHERE = Address("", 0)


def endpoints(cluster: str, listed: Mapping[str, EnvoyEndpoint]) -> str:
    """The EDS document. The host names are the names of the instances: `/clusters` lists its endpoints by them."""
    hosts = [
        {
            "endpoint": endpoint.endpoint(name),
            "load_balancing_weight": endpoint.weight,
        }
        for name, endpoint in sorted(listed.items())
    ]
    resource = {
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": cluster,
        "endpoints": [{"lb_endpoints": hosts}] if hosts else [],
    }
    return json.dumps({"resources": [resource]}, indent=1)


def members(text: str | bytes) -> dict[str, EnvoyEndpoint]:
    """The members that an EDS document lists. Raises ValueError where the text is none."""
    found: dict[str, EnvoyEndpoint] = {}
    try:
        for group in json.loads(text)["resources"][0]["endpoints"]:
            for host in group["lb_endpoints"]:
                endpoint, weight = host["endpoint"], host["load_balancing_weight"]
                found[endpoint["hostname"]] = EnvoyEndpoint.parse(endpoint, weight)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"it is not an endpoint list: {error!r}") from error
    return found


def hosts_of(clusters: Any, cluster: str) -> dict[str, tuple[bool, int]]:
    """From the document of `/clusters?format=json`: name -> whether the node sends it requests, and its weight.

    Raises ValueError where the document is something else.
    """
    try:
        return {
            host["hostname"]: (_gets_traffic(host.get("health_status", {})), int(host.get("weight", 1)))
            for status in clusters["cluster_statuses"]
            if status["name"] == cluster
            for host in status.get("host_statuses", ())
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"/clusters did not answer as it should: {error!r}") from error


def socket_address(address: Address) -> dict[str, Any]:
    return {"socket_address": {"address": address.host, "port_value": address.port}}


def _gets_traffic(health: Mapping[str, Any]) -> bool:
    """HEALTHY in the list and nothing against it: every other key of HostHealthStatus is a flag for *not now*."""
    return health.get("eds_health_status") == "HEALTHY" and len(health) == 1
