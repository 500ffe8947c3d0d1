"""Backend services: each is a HAProxy of its own, whose members are those of its instance groups."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.gcp.fake.balancers import checks
from tests.gcp.fake.balancers.haproxy import SOCKET, HaproxyProcess, Member
from tests.gcp.fake.clock import Clock
from tests.gcp.fake.machines.hollow import HollowProcess
from tests.gcp.fake.machines.machines import group_link
from tests.gcp.fake.machines.network import Network
from tests.gcp.fake.machines.vm import Vm
from tests.gcp.fake.resources.links import link, path_of
from tests.gcp.fake.resources.store import Store
from tests.gcp.fake.wire.errors import Json

KIND = "compute#backendService"
Process = HaproxyProcess | HollowProcess
ADMIN_PORT, TRAFFIC_PORT = 8098, 8080
"""Of each process, on an address of its own."""


class Service:
    def __init__(
        self, path: str, store: Store, clock: Clock, process: Process, address: str, sick: Callable[[str], bool]
    ) -> None:
        self.path = path
        self.address = address
        """Its own, for URL maps; forwarding rules have others."""
        self._store = store
        self._clock = clock
        self._sick = sick
        self._process = process
        self._members: dict[str, tuple[Vm, str]] = {}
        """By the name in HAProxy; with the path of the group."""
        self._leaving: set[str] = set()
        self._removals: list[asyncio.Task[None]] = []
        self._lock = asyncio.Lock()

    @property
    def _resource(self) -> Json:
        return self._store.get(self.path)

    @property
    def drain(self) -> float:
        """Seconds at speed 1; connectionDraining absent: 0, off."""
        return float(self._resource.get("connectionDraining", {}).get("drainingTimeoutSec", 0))

    def has(self, group: str) -> bool:
        url = group_link(group)
        return any(path_in(backend["group"], url) for backend in self._resource.get("backends", []))

    async def run(self) -> None:
        """Start the process, or replace it where its settings changed; its members stay as healthy as they were."""
        async with self._lock:
            await self._process.run(
                self._config(),
                [self._member(vm, group) for name, (vm, group) in self._members.items() if name not in self._leaving],
            )

    async def stop(self) -> None:
        for task in self._removals:
            task.cancel()
        await self._process.stop()

    async def admit(self, vm: Vm, group: str) -> None:
        async with self._lock:
            if server_of(vm) not in self._members:
                self._members[server_of(vm)] = (vm, group)
                await self._process.admit(self._member(vm, group))

    async def remove(self, vm: Vm) -> None:
        """The first half of draining: nothing new to it."""
        async with self._lock:
            if server_of(vm) in self._members:
                self._leaving.add(server_of(vm))
                later = self._clock.real(self._clock.delays.propagation)
                self._removals.append(asyncio.get_running_loop().create_task(self._remove(server_of(vm), later)))
                if not later:
                    await self._removals[-1]

    async def _remove(self, name: str, later: float) -> None:
        await asyncio.sleep(later)
        await self._process.remove(name)

    async def forget(self, vm: Vm) -> None:
        async with self._lock:
            if self._members.pop(server_of(vm), None):
                self._leaving.discard(server_of(vm))
                await self._process.forget(server_of(vm), ended=vm.status == "TERMINATED")

    def members(self, group: str) -> list[tuple[str, Vm]]:
        """Those that are not being removed, with their names in HAProxy."""
        return [(name, vm) for name, (vm, its) in self._members.items() if its == group and name not in self._leaving]

    def strays(self) -> list[Vm]:
        """Members of groups that the service has no longer."""
        return [vm for name, (vm, its) in self._members.items() if not self.has(its) and name not in self._leaving]

    def port(self, group: str) -> int:
        """portName: "a named port on a backend instance group"; passthrough balancers forward to the rule's port."""
        name = self._resource.get("portName", "http")
        ports = self._store.get(group).get("namedPorts", [])
        for port in ports:
            if port["name"] == name:
                return int(port["port"])
        return next((port for _, port in self._frontends()), 80)

    async def healthy(self) -> set[str]:
        """Names in HAProxy of those whose checks pass. One that fails them gets traffic until that has propagated."""
        check = self._check()
        most = check.unhealthy if check else 1
        return {name for name, seen in (await self._process.seen()).items() if seen.healthy and seen.failures < most}

    def _member(self, vm: Vm, group: str) -> Member:
        port = self.port(group)
        check = self._check()
        settings = "send-proxy " if self._proxy_header else ""
        if check:
            settings += f"check {checks.haproxy_server(check, self._clock, vm.address, port, sick=self._sick(vm.name))}"
        return Member(server_of(vm), vm.address, port, settings)

    @property
    def reaction(self) -> float:
        """Seconds at speed 1 until a check's result counts."""
        check = self._check()
        return check.interval * check.unhealthy if check else 0

    def _check(self) -> checks.Check | None:
        urls = self._resource.get("healthChecks", [])
        project = self.path.split("/")[1]
        return checks.read(self._store.get(path_of(urls[0], project))) if urls else None

    def _frontends(self) -> Iterator[tuple[str, int]]:
        for rule in self._store.of_kind("compute#forwardingRule"):
            if link(self.path) in {rule.get("backendService"), self._proxied(rule).get("service")}:
                ports = rule.get("ports") or [rule.get("portRange", "80").split("-")[0]]
                yield from ((rule["IPAddress"], int(port)) for port in ports)

    def _proxied(self, rule: Json) -> Json:
        """The TCP proxy that a rule leads to. HTTP proxies have URL maps, which are processes of their own."""
        target = rule.get("target", "")
        return self._store.get(path_of(target, "")) if "/targetTcpProxies/" in target else {}

    @property
    def _proxy_header(self) -> bool:
        """targetTcpProxies.proxyHeader: "Specifies the type of proxy header to append before sending data to the
        backend, either NONE or PROXY_V1"."""
        rules = self._store.of_kind("compute#forwardingRule")
        proxies = [self._proxied(rule) for rule in rules]
        return any(p.get("service") == link(self.path) and p.get("proxyHeader") == "PROXY_V1" for p in proxies)

    def _config(self) -> str:
        resource = self._resource
        http = resource.get("protocol", "HTTP") in {"HTTP", "HTTPS", "HTTP2"}
        idle = f"{resource['timeoutSec']}s" if "timeoutSec" in resource and self._proxies else "24d"
        check = self._check()
        binds = "".join(f"    bind {address}:{port}\n" for address, port in self._frontends())
        return f"""global
    stats socket ipv4@{self.address}:{ADMIN_PORT} level admin
    stats socket unix@{SOCKET} level admin expose-fd listeners
    maxconn 2000
    nbthread 1

defaults
    mode {"http" if http else "tcp"}
    timeout connect 5s
    timeout client {"610s" if http else idle}
    timeout server {idle}
{"    option forwardfor" if http else ""}

frontend traffic
    bind {self.address}:{TRAFFIC_PORT}
{binds}    default_backend members

backend members
    balance roundrobin
{checks.haproxy_lines(check) if check else ""}"""

    @property
    def _proxies(self) -> bool:
        """timeoutSec means nothing to passthrough balancers: schemes INTERNAL, and EXTERNAL of a region."""
        scheme = self._resource.get("loadBalancingScheme", "EXTERNAL")
        return not (scheme == "INTERNAL" or (scheme == "EXTERNAL" and "/regions/" in self.path))


class Services:
    def __init__(
        self,
        store: Store,
        clock: Clock,
        network: Network,
        folder: Path,
        sick: Callable[[str], bool],
        hollow: Callable[[str], Vm | None] | None,
    ) -> None:
        """`sick`: whether a fault keeps the VM of that name from ever being healthy. `hollow`: finds hollow VMs by
        address, and then there is no HAProxy."""
        self._hollow = hollow
        self._store = store
        self._sick = sick
        self._clock = clock
        self._network = network
        self._folder = folder
        self._services: dict[str, Service] = {}
        self._drops: set[asyncio.Task[None]] = set()
        self.roster: Callable[[], Mapping[str, list[Vm]]] = dict
        """Every group's path with its VMs."""

    async def follow(self) -> None:
        """Start, replace and stop processes, and admit and remove members, so that they are what the resources say."""
        paths = {path_of(resource["selfLink"], "") for resource in self._store.of_kind(KIND)}
        for path in self._services.keys() - paths:
            await self._services.pop(path).stop()
        for path in sorted(paths):
            if path not in self._services:
                folder = self._folder / path.replace("/", "-")
                address = self._network.balancer()
                process = self._process(path, folder, address)
                self._services[path] = Service(path, self._store, self._clock, process, address, self._sick)
            await self._services[path].run()
        for group, vms in self.roster().items():
            for vm in vms:
                await self.admit(vm, group)
        for service in self._services.values():
            for vm in service.strays():
                await service.remove(vm)
                task = asyncio.get_running_loop().create_task(self._drop(service, vm))
                self._drops.add(task)
                task.add_done_callback(self._drops.discard)

    def _process(self, path: str, folder: Path, address: str) -> Process:
        if self._hollow is None:
            return HaproxyProcess(folder, (address, ADMIN_PORT))
        return HollowProcess(self._hollow, lambda: self._clock.real(self._services[path].reaction))

    async def _drop(self, service: Service, vm: Vm) -> None:
        """Removing a group from a service drains its VMs too (page "Enable connection draining")."""
        await self._clock.sleep(service.drain)
        await service.forget(vm)

    def get(self, path: str) -> Service:
        self._store.get(path)
        return self._services[path]

    def of(self, group: str) -> list[Service]:
        return [service for service in self._services.values() if service.has(group)]

    def drain(self, group: str) -> float:
        """Shared backends: the largest timeout of the services wins (page "Enable connection draining")."""
        return max((service.drain for service in self.of(group)), default=0)

    async def admit(self, vm: Vm, group: str) -> None:
        for service in self.of(group):
            await service.admit(vm, group)

    async def remove(self, vm: Vm) -> None:
        await asyncio.gather(*(service.remove(vm) for service in self._services.values()))

    async def forget(self, vm: Vm) -> None:
        await asyncio.gather(*(service.forget(vm) for service in self._services.values()))

    async def stop(self) -> None:
        await asyncio.gather(*(service.stop() for service in self._services.values()))


def path_in(url: str, wanted: str) -> bool:
    """Whether a URL, whole or partial, names that resource."""
    return bool(url) and wanted.endswith("/" + url.split("/compute/v1/")[-1].removeprefix("/"))


def server_of(vm: Vm) -> str:
    """HAProxy's name of it. A VM that was recreated has its name again, and another number."""
    return f"{vm.name}-{vm.number}"
