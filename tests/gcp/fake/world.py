"""The world of one fake: its file, and everything that lives in it.

A world file is JSON:

    {"project": "shop", "regions": {"europe-west1": ["europe-west1-b", ...]}, "speed": 20,
     "delays": {"provision": 5}, "actors": {"autoscaler": false}, "folder": "/tmp/w", "port": 0,
     "resources": {"global/healthChecks": [BODY, ...], "zones/europe-west1-b/instanceGroupManagers": [BODY, ...]}}

The keys of `resources` are collections below the project, their values bodies of `insert`; they are inserted in this
order, at once. `latency`: real seconds before each answer of the API. `hollow`: see `machines/hollow.py`. `@network@`
in any text becomes the fake's network, such as 127.77.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

from tests.gcp.fake.balancers.health import Health
from tests.gcp.fake.balancers.services import Services
from tests.gcp.fake.balancers.url_maps import UrlMaps
from tests.gcp.fake.clock import Clock, Delays
from tests.gcp.fake.groups.api import Groups
from tests.gcp.fake.groups.group import Actors, Surroundings
from tests.gcp.fake.machines.api import Instances, Places, gone
from tests.gcp.fake.machines.hollow import Hollow, HollowVm
from tests.gcp.fake.machines.machines import Machines
from tests.gcp.fake.machines.network import Network
from tests.gcp.fake.machines.vm import Vm
from tests.gcp.fake.resources import rules
from tests.gcp.fake.resources.operations import Operations, scope_of
from tests.gcp.fake.resources.plain import COLLECTIONS, PlainResources
from tests.gcp.fake.resources.store import Store
from tests.gcp.fake.wire.discovery import Call, Discovery
from tests.gcp.fake.wire.errors import ApiError, Json
from tests.gcp.fake.wire.faults import Faults

KEYS = frozenset(
    {"project", "regions", "speed", "delays", "actors", "folder", "port", "resources", "latency", "hollow"}
)


class World:
    def __init__(self, file: Path, network: Network, metadata_port: int) -> None:
        text = file.read_text(encoding="utf-8").replace("@network@", network.prefix)
        spec: dict[str, Any] = json.loads(text)
        if unknown := spec.keys() - KEYS:
            raise SystemExit(f"fake: {file} has unknown keys: {', '.join(sorted(unknown))}")
        self._temporary = None if "folder" in spec else tempfile.TemporaryDirectory(prefix="fake-gcp-")
        folder = Path(self._temporary.name if self._temporary else spec["folder"])
        self._spec = spec
        self.port: int = spec.get("port", 0)
        self.project: str = spec["project"]
        self.clock = Clock(spec.get("speed", 1), Delays(**spec.get("delays", {})))
        self.faults = Faults()
        self.network = network
        self.store = Store(self.clock)
        self.hollow = Hollow(**spec["hollow"]) if "hollow" in spec else None
        self.latency: float = spec.get("latency", 0)
        self.operations = Operations(self.clock, self.store, self.faults)
        self.services = Services(
            self.store,
            self.clock,
            network,
            folder / "balancers",
            self.faults.unhealthy,
            self._at if self.hollow else None,
        )
        self.url_maps = UrlMaps(self.store, self.services, network, folder / "balancers")
        self.machines = Machines(self.store, network, folder / "vms", metadata_port, HollowVm if self.hollow else Vm)
        self.places = Places(self.project, spec["regions"], self.clock.stamp())
        self.actors = Actors(**spec.get("actors", {}))
        around = Surroundings(
            self.clock, self.store, self.machines, self.services, self.faults, self.actors, self.places.zones
        )
        self.groups = Groups(around, self.operations)
        self.services.roster = self.groups.roster
        self.plain = PlainResources(self.store, self.operations, network.balancer, self.follow)
        self.instances = Instances(self.machines, self.services, self.operations, self.clock)
        self.health = Health(self.services, self.faults)
        self._preemptions: list[asyncio.Task[None]] = []

    def _at(self, address: str) -> Vm | None:
        return self.machines.at(address)

    async def begin(self, discovery: Discovery) -> None:
        """Insert the file's resources. Each body is checked as that of an insert is."""
        for collection, bodies in self._spec.get("resources", {}).items():
            kind = collection.rpartition("/")[2]
            for body in bodies:
                path = f"projects/{self.project}/{collection}"
                call = discovery.match("POST", path)
                if call is None:
                    raise SystemExit(f"fake: the API has no collection {collection}")
                if problems := discovery.request_problems(call, [], body):
                    raise SystemExit(f"fake: {collection}/{body.get('name')}: {'; '.join(problems)}")
                if kind == "instanceGroupManagers":
                    self.groups.add(f"{path}/{body['name']}", body)
                else:
                    self.plain.add(kind, f"{path}/{body['name']}", body)
        await self.follow()

    async def follow(self) -> None:
        """Make the balancers what their resources say."""
        await self.services.follow()
        await self.url_maps.follow()

    async def answer(self, call: Call, collection: str, verb: str, query: dict[str, str], body: Json) -> Json:
        """Raises ApiError."""
        match collection:
            case "instanceGroupManagers":
                return self.groups.answer(call, verb, query, body)
            case "instanceGroups":
                return self.groups.group_answer(call, verb, query, body)
            case "instances":
                return self.instances.answer(call, verb, query)
            case "operations":
                return await self._operation(call, verb, query)
            case "zones" | "regions" | "projects":
                return self.places.answer(call, collection, verb, query)
            case "backendServices" if verb == "getHealth":
                path = f"projects/{self.project}/{scope_of(call.args)}/backendServices/{call.args['backendService']}"
                return await self.health.answer(path, body.get("group", ""), list(self.groups.groups))
            case _ if collection in COLLECTIONS:
                return self.plain.answer(call, collection, verb, query, body)
        raise rules.refuse_unknown(f"{call.method} is not implemented")

    async def _operation(self, call: Call, verb: str, query: dict[str, str]) -> Json:
        operation = self.store.get(
            f"projects/{self.project}/{scope_of(call.args)}/operations/{call.args.get('operation', '')}"
        )
        match verb:
            case "get":
                return dict(operation)
            case "wait":
                return await self.operations.wait(operation, early=self.faults.wait_returns_early())
        raise rules.refuse_unknown(f"{call.method} is not implemented")

    async def end(self) -> None:
        """Nothing of it is left running."""
        await self.groups.stop()
        await asyncio.gather(gone(self.machines), self.services.stop(), self.url_maps.stop())
        if self._temporary is not None:
            self._temporary.cleanup()

    async def strike(self, spec: Json) -> None:
        """`kill`: the power of a VM fails. `preempt`: it is told so, and shut down after the documented notice."""
        vm = next((vm for vm in self.machines if vm.name == spec["instance"]), None)
        if vm is None:
            raise ApiError(404, "notFound", f"fake: no VM {spec['instance']}")
        if spec["do"] == "kill":
            await vm.power_off()
        else:
            vm.preempted = True
            vm.tell()
            self._preemptions.append(asyncio.get_running_loop().create_task(self._preempted(vm)))

    async def _preempted(self, vm: Vm) -> None:
        await vm.shut_down(self.clock, graceful=False, period=self.clock.delays.preemption)

    def state(self) -> Json:
        return {
            "network": self.network.prefix,
            "vms": [
                {"name": vm.name, "zone": vm.zone, "address": vm.address, "status": vm.status, "folder": str(vm.folder)}
                for vm in self.machines
            ],
            "forwarding_rules": {
                rule[
                    "name"
                ]: f"{rule['IPAddress']}:{(rule.get('ports') or [rule.get('portRange', '80')])[0].split('-')[0]}"
                for rule in self.store.of_kind("compute#forwardingRule")
            },
            "actors": dataclasses.asdict(self.actors),
            "violations": self.faults.violations,
        }
