"""URL maps: each target proxy with a forwarding rule is a HAProxy that shares requests among services by weight.

weight: "computed as weight / (sum of all weightedBackendService weights in routeAction)", "only for new traffic". A
change of weights changes a running process; open requests go on where they are.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Iterator
from pathlib import Path

from tests.gcp.fake.balancers.haproxy import SOCKET, HaproxyProcess
from tests.gcp.fake.balancers.services import ADMIN_PORT, TRAFFIC_PORT, Services
from tests.gcp.fake.machines.network import Network
from tests.gcp.fake.resources.links import name_of, path_of
from tests.gcp.fake.resources.store import Store
from tests.gcp.fake.wire.errors import Json

MOST_WEIGHT = 256
"""HAProxy's."""


class UrlMaps:
    def __init__(self, store: Store, services: Services, network: Network, folder: Path) -> None:
        self._store = store
        self._services = services
        self._network = network
        self._folder = folder
        self._processes: dict[str, tuple[HaproxyProcess, str]] = {}

    async def follow(self) -> None:
        """Make processes and weights what the resources say. The services' own processes run already."""
        for proxy in self._store.of_kind("compute#targetHttpProxy"):
            binds = [bind for rule in rules_of(self._store, proxy) for bind in rule]
            if not binds:
                continue
            url = proxy["selfLink"]
            if url not in self._processes:
                address = self._network.balancer()
                process = HaproxyProcess(self._folder / f"url-map-{proxy['name']}", (address, ADMIN_PORT))
                self._processes[url] = (process, address)
            process, address = self._processes[url]
            routes = list(self._routes(self._store.get(path_of(proxy["urlMap"], ""))))
            await process.run(self._config(binds, address, routes))
            for number, (_, weights) in enumerate(routes):
                for service, weight in _scaled(weights).items():
                    await process.ask(f"set server route{number}/{name_of(service)} weight {weight}")

    async def stop(self) -> None:
        await asyncio.gather(*(process.stop() for process, _ in self._processes.values()))

    def _routes(self, url_map: Json) -> Iterator[tuple[str, dict[str, int]]]:
        """Conditions of HAProxy, empty for the default, with the weights of the services; the first that holds wins."""
        matchers = {each["name"]: each for each in url_map.get("pathMatchers", [])}
        for host_rule in url_map.get("hostRules", []):
            matcher = matchers[host_rule["pathMatcher"]]
            hosts = "" if "*" in host_rule["hosts"] else f"{{ hdr(host),field(1,:) {' '.join(host_rule['hosts'])} }} "
            for rule in matcher.get("pathRules", []):
                paths = " ".join(path.removesuffix("*") for path in rule["paths"])
                yield f"{hosts}{{ path_beg {paths} }}", _weights(rule.get("service"), rule.get("routeAction", {}))
            yield hosts.strip(), _weights(matcher.get("defaultService"), matcher.get("defaultRouteAction", {}))
        yield "", _weights(url_map.get("defaultService"), url_map.get("defaultRouteAction", {}))

    def _config(self, binds: list[tuple[str, int]], address: str, routes: list[tuple[str, dict[str, int]]]) -> str:
        def chosen(number: int, condition: str) -> str:
            return f"    use_backend route{number}{f' if {condition}' if condition else ''}\n"

        def backend(number: int, weights: dict[str, int]) -> str:
            servers = "".join(
                f"    server {name_of(each)} {self._services.get(path_of(each, '')).address}:{TRAFFIC_PORT} weight 1\n"
                for each in weights
            )
            return f"\nbackend route{number}\n    balance roundrobin\n{servers}"

        uses = "".join(chosen(number, condition) for number, (condition, _) in enumerate(routes))
        backends = "".join(backend(number, weights) for number, (_, weights) in enumerate(routes))
        return f"""global
    stats socket ipv4@{address}:{ADMIN_PORT} level admin
    stats socket unix@{SOCKET} level admin expose-fd listeners
    maxconn 2000
    nbthread 1

defaults
    mode http
    timeout connect 5s
    timeout client 610s
    timeout server 24d

frontend traffic
{"".join(f"    bind {host}:{port}{chr(10)}" for host, port in binds)}{uses}{backends}"""


def rules_of(store: Store, target: Json) -> Iterator[list[tuple[str, int]]]:
    """Addresses and ports of the forwarding rules of a target."""
    for rule in store.of_kind("compute#forwardingRule"):
        if rule.get("target") == target["selfLink"]:
            ports = rule.get("ports") or [rule.get("portRange", "80").split("-")[0]]
            yield [(rule["IPAddress"], int(port)) for port in ports]


def _weights(service: str | None, action: Json) -> dict[str, int]:
    weighted = action.get("weightedBackendServices", [])
    if weighted:
        return {each["backendService"]: int(each.get("weight", 0)) for each in weighted}
    return {service: 1} if service else {}


def _scaled(weights: dict[str, int]) -> dict[str, int]:
    """The same proportions within HAProxy's bounds; a weight above zero stays above zero."""
    divisor = functools.reduce(math.gcd, weights.values(), 0) or 1
    shares = {name: weight // divisor for name, weight in weights.items()}
    excess = max(1.0, max(shares.values(), default=0) / MOST_WEIGHT)
    return {name: max(1, round(share / excess)) if share else 0 for name, share in shares.items()}
