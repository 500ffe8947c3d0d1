"""A managed instance group at work: it makes its instances what its resource says, one look after the other."""

from __future__ import annotations

import asyncio
import random
import string
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from tests.gcp.fake.balancers import checks
from tests.gcp.fake.balancers.services import Services
from tests.gcp.fake.clock import Clock
from tests.gcp.fake.groups import planning
from tests.gcp.fake.groups.managed import Managed
from tests.gcp.fake.groups.planning import Member, Version
from tests.gcp.fake.machines.machines import Machines
from tests.gcp.fake.machines.vm import Vm
from tests.gcp.fake.resources.links import link, name_of, path_of
from tests.gcp.fake.resources.store import Store
from tests.gcp.fake.wire.errors import Json
from tests.gcp.fake.wire.faults import Faults


@dataclass
class Actors:
    """What Google's engine does by itself, each to be switched off."""

    updater: bool = True
    autohealer: bool = True
    autoscaler: bool = True


@dataclass(frozen=True)
class Surroundings:
    """What every group works with."""

    clock: Clock
    store: Store
    machines: Machines
    services: Services
    faults: Faults
    actors: Actors
    zones: Callable[[str], list[str]]
    """Of a region."""


class Group:
    def __init__(self, path: str, around: Surroundings) -> None:
        self.path = path
        self.managed: dict[str, Managed] = {}
        self.errors: list[Json] = []
        """For listErrors, the newest last."""
        self._around = around
        self._random = random.Random(path)  # noqa: S311  names, not secrets
        self._tasks: set[asyncio.Task[None]] = set()
        self.going = True

    # What its resource says.

    @property
    def resource(self) -> Json:
        return self._around.store.get(self.path)

    @property
    def project(self) -> str:
        return self.path.split("/")[1]

    @property
    def target(self) -> int:
        return int(self.resource["targetSize"])

    @target.setter
    def target(self, size: int) -> None:
        self.resource["targetSize"] = size
        self._around.store.touch(self.resource)

    def zones(self) -> list[str]:
        """distributionPolicy.zones; without them, those of the region (at most three)."""
        if "/zones/" in self.path:
            return [self.path.split("/")[3]]
        given = self.resource.get("distributionPolicy", {}).get("zones", [])
        return [name_of(each["zone"]) for each in given] or self._around.zones(self.path.split("/")[3])[:3]

    def wanted(self) -> list[tuple[Version, int]]:
        versions = [
            (Version(each.get("name", ""), path_of(each["instanceTemplate"], self.project)), each.get("targetSize"))
            for each in self.resource["versions"]
        ]
        return planning.shares(versions, self.target)

    def check(self) -> checks.Check | None:
        """Of autohealing."""
        for policy in self.resource.get("autoHealingPolicies", []):
            if "healthCheck" in policy:
                return checks.read(self._around.store.get(path_of(policy["healthCheck"], self.project)))
        return None

    # What there is.

    def members(self) -> list[Member]:
        return [Member(m.name, m.zone, m.version, self._available(m)) for m in self.managed.values() if not m.leaving]

    def _available(self, managed: Managed) -> bool:
        running = managed.vm is not None and managed.vm.status == "RUNNING" and managed.action in {"NONE", "VERIFYING"}
        return running and (managed.healthy_once or self.check() is None)

    def outdated(self) -> list[Member]:
        return planning.outdated(self.members(), self.wanted())

    # What it does.

    async def work(self) -> None:
        """Until the group is deleted."""
        while self.going:
            self.look()
            await self._around.clock.sleep(self._around.clock.delays.look)

    def look(self) -> None:
        if not self.going:
            return
        members, old = self.members(), self.outdated()
        policy = self.resource["updatePolicy"]
        self._relabel(old, policy)
        if old and policy["type"] == "PROACTIVE" and self._may_replace(policy):
            plan = planning.update(members, old, self.target, policy)
            self.recreate([self.managed[name] for name in plan.recreate if self.managed[name].action == "NONE"])
            self.create(plan.create)
            self.delete([self.managed[name] for name in plan.delete])
        elif len(members) < self.target:
            self.create(self.target - len(members))
        elif len(members) > self.target:
            names = planning.shrink(members, old, len(members) - self.target)
            self.delete([self.managed[name] for name in names])
        elif surplus := self._misplaced(members):
            self.delete([self.managed[surplus]])

    def _may_replace(self, policy: Json) -> bool:
        """mostDisruptiveAllowedAction: "If the Updater determines that the minimal update action needed is more
        disruptive than most disruptive allowed action you specify it will not perform the update at all"."""
        return self._around.actors.updater and policy.get("mostDisruptiveAllowedAction", "REPLACE") == "REPLACE"

    def _relabel(self, old: Sequence[Member], policy: Json) -> None:
        """minimalAction NONE and REFRESH "limit disruption as much as possible": another name of the same template
        needs no action."""
        names = {version.template: version for version, _ in self.wanted()}
        for member in old:
            if policy.get("minimalAction") in {"NONE", "REFRESH"} and member.version.template in names:
                self.managed[member.name].version = names[member.version.template]

    def _misplaced(self, members: list[Member]) -> str | None:
        """Whom proactive redistribution deletes, to be made again in another zone.

        targetShape EVEN: "the number of VMs does not differ by more than 1 between any two zones".
        """
        if self.resource["updatePolicy"].get("instanceRedistributionType", "NONE") == "NONE":
            return None
        if self.resource.get("distributionPolicy", {}).get("targetShape", "EVEN") != "EVEN":
            return None
        counts = Counter({zone: sum(m.zone == zone for m in members) for zone in self.zones()})
        if max(counts.values()) - min(counts.values()) < 2 or not all(m.available for m in members):
            return None
        fullest = max(counts, key=lambda zone: counts[zone])
        return min(m.name for m in members if m.zone == fullest)

    def create(self, count: int, names: Sequence[str] = (), action: str = "CREATING") -> None:
        for name in names or [self._new_name() for _ in range(count)]:
            members = self.members()
            zone = planning.zone_for(members, self.zones())
            version = planning.next_version(members, self.wanted())
            path = f"projects/{self.project}/zones/{zone}/instances/{name}"
            managed = self.managed[name] = Managed(path, version, action)
            self._begin(managed, self._create(managed))

    def delete(self, managed: Sequence[Managed], *, graceful: bool = True) -> None:
        """`graceful`: false with noGracefulShutdown."""
        for each in managed:
            each.action = "DELETING"
            self._begin(each, self._delete(each, graceful=graceful))

    def abandon(self, managed: Sequence[Managed]) -> None:
        for each in managed:
            each.action = "ABANDONING"
            self._begin(each, self._abandon(each))

    def recreate(self, managed: Sequence[Managed]) -> None:
        """ "Each instance is recreated using the group's current configuration"."""
        for each in managed:
            others = [m for m in self.members() if m.name != each.name]
            version = planning.next_version(others, self.wanted())
            each.action = "RECREATING"
            self._begin(each, self._recreate(each, version, drained=True))

    def repair(self, managed: Managed) -> None:
        """Autohealing. It does not drain: the page on draining does not list it.

        forceUpdateOnRepair: NO by default, and then configuration updates are not applied.
        """
        policy = self.resource.get("instanceLifecyclePolicy", {})
        version = managed.version
        if policy.get("forceUpdateOnRepair") == "YES":
            version = planning.next_version([m for m in self.members() if m.name != managed.name], self.wanted())
        managed.action = "RECREATING"
        self._begin(managed, self._recreate(managed, version, drained=False))

    def _begin(self, managed: Managed, work: Coroutine[Any, Any, None]) -> None:
        """In place of what was being done with it."""
        if managed.task is not None:
            managed.task.cancel()
        managed.task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(managed.task)
        managed.task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._around.faults.violation(f"{self.path}: {error!r}")

    def _new_name(self) -> str:
        """baseInstanceName: "the MIG appends a hyphen and a random four-character string"."""
        letters = string.ascii_lowercase + string.digits
        while True:
            name = f"{self.resource['baseInstanceName']}-{''.join(self._random.choices(letters, k=4))}"
            if name not in self.managed:
                return name

    async def _create(self, managed: Managed) -> None:
        clock = self._around.clock
        while True:
            await clock.sleep(clock.delays.provision)
            await self._held(managed)
            error = self._around.faults.creation(self.path, managed.zone)
            if error is None:
                break
            managed.errors = [error]
            self._failed(managed, error)
            if managed.action == "CREATING_WITHOUT_RETRIES":  # "the group's targetSize value is decreased instead"
                del self.managed[managed.name]
                self.target -= 1
                return
            await clock.sleep(clock.delays.retry)
        managed.errors = []
        await self._boot(managed)

    async def _boot(self, managed: Managed) -> None:
        vm = self._around.machines.new(managed.path, managed.version.template, link(self.path))
        managed.vm, managed.health, managed.healthy_once = vm, "UNKNOWN", False
        await vm.start(self._around.clock)
        await self._around.services.admit(vm, self.path)
        managed.action = "VERIFYING" if self.check() else "NONE"

    async def _held(self, managed: Managed) -> None:
        while self._around.faults.holds(managed.action, managed.name):
            await self._around.clock.sleep(self._around.clock.delays.look)

    def _failed(self, managed: Managed, error: Json) -> None:
        details = {"action": managed.action, "instance": link(managed.path), "version": managed.version.resource()}
        error = {"code": error["code"], "message": error["message"]}
        stamp = self._around.clock.stamp()
        self.errors.append({"error": error, "instanceActionDetails": details, "timestamp": stamp})

    async def _drain(self, vm: Vm) -> None:
        """Out of every balancer, then the drain time, whether or not anything is open.

        deleteInstances: "it can take up to 60 seconds after the connection draining duration has elapsed".
        """
        clock = self._around.clock
        await self._around.services.remove(vm)
        if drain := self._around.services.drain(self.path):
            await clock.sleep(drain + clock.delays.after_drain)

    async def _delete(self, managed: Managed, *, graceful: bool) -> None:
        if (vm := managed.vm) is not None:
            await self._drain(vm)
            await self._held(managed)
            await self._end(vm, graceful=graceful)
        self.managed.pop(managed.name, None)

    async def _end(self, vm: Vm, *, graceful: bool = True) -> None:
        await vm.shut_down(self._around.clock, graceful=graceful)
        await self._around.services.forget(vm)
        self._around.machines.forget(vm)

    async def _abandon(self, managed: Managed) -> None:
        """ "Abandoning an instance does not delete the instance"."""
        if (vm := managed.vm) is not None:
            await self._drain(vm)
            await self._around.services.forget(vm)
            vm.created_by = ""
        self.managed.pop(managed.name, None)

    async def _recreate(self, managed: Managed, version: Version, *, drained: bool) -> None:
        if (vm := managed.vm) is not None:
            if drained:
                await self._drain(vm)
            else:
                await self._around.services.remove(vm)
            await self._end(vm)
        managed.vm = None
        managed.version = version
        await self._create(managed)

    async def stop(self) -> None:
        """Only the work: the VMs end with the fake."""
        self.going = False
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
