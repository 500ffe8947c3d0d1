"""The methods of instanceGroupManagers and instanceGroups, zonal and regional."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from tests.gcp.fake.groups import views
from tests.gcp.fake.groups.autoscaler import scale
from tests.gcp.fake.groups.group import Group, Surroundings
from tests.gcp.fake.groups.healer import heal
from tests.gcp.fake.groups.managed import Managed
from tests.gcp.fake.machines.machines import group_link
from tests.gcp.fake.machines.vm import Vm
from tests.gcp.fake.resources import listing, rules
from tests.gcp.fake.resources.links import link, name_of, path_of, with_links
from tests.gcp.fake.resources.operations import Operations, scope_of
from tests.gcp.fake.resources.store import check_fingerprint, merged
from tests.gcp.fake.wire.discovery import Call
from tests.gcp.fake.wire.errors import Json, not_found

KIND = "compute#instanceGroupManager"
Query = Mapping[str, str]
OUTPUT_ONLY = frozenset({"status", "currentActions", "fingerprint", "id", "kind", "selfLink", "instanceGroup", "zone"})


class Groups:
    def __init__(self, around: Surroundings, operations: Operations) -> None:
        self._around = around
        self._operations = operations
        self.groups: dict[str, Group] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._begin(scale(self.groups, around))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def roster(self) -> dict[str, list[Vm]]:
        """Every group with its VMs, without those that are leaving."""
        return {
            path: [m.vm for m in group.managed.values() if m.vm is not None and m.vm.started and not m.leaving]
            for path, group in self.groups.items()
        }

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *(group.stop() for group in self.groups.values()), return_exceptions=True)

    def answer(self, call: Call, verb: str, query: Query, body: Json) -> Json:
        """A method of instanceGroupManagers."""
        path = f"projects/{call.args['project']}/{scope_of(call.args)}/instanceGroupManagers"
        if verb == "aggregatedList":
            return views.aggregated(self.groups.values(), self._around.store, call.args["project"], query)
        if verb == "list":
            items = [
                views.manager(self._group(r["selfLink"]), self._around.store) for r in self._around.store.under(path)
            ]
            kind = (
                "compute#instanceGroupManagerList" if "zone" in call.args else "compute#regionInstanceGroupManagerList"
            )
            return {"kind": kind, "id": path, "selfLink": link(path), **listing.page(items, query)}
        if verb == "insert":
            return self._insert(call, f"{path}/{body['name']}", query, body)
        group = self._group(f"{path}/{call.args['instanceGroupManager']}")
        match verb:
            case "get":
                return views.manager(group, self._around.store)
            case "listManagedInstances":
                return views.managed_instances(group, query)
            case "listErrors":
                return listing.page(list(reversed(group.errors)), query)
            case "patch" | "update":
                return self._patch(call, group, query, body)
            case "delete":
                return self._delete_group(call, group, query)
            case "resize":
                return self._start(call, group, query, lambda: self._resize(group, int(query["size"])))
            case "createInstances":
                return self._create(call, group, query, body)
            case "deleteInstances":
                return self._leave(
                    call,
                    group,
                    query,
                    body,
                    functools.partial(group.delete, graceful=query.get("noGracefulShutdown") != "true"),
                )
            case "abandonInstances":
                return self._leave(call, group, query, body, group.abandon)
            case "recreateInstances":
                chosen = self._chosen(group, body)
                return self._start(call, group, query, lambda: group.recreate(chosen))
            case "applyUpdatesToInstances":
                return self._apply(call, group, query, body)
        raise rules.refuse_unknown(f"{call.method} is not implemented")

    def group_answer(self, call: Call, verb: str, query: Query, body: Json) -> Json:
        """A method of instanceGroups: the group that belongs to a manager."""
        scope = f"projects/{call.args['project']}/{scope_of(call.args)}"
        if verb == "list":
            found = self._around.store.under(f"{scope}/instanceGroupManagers")
            items = [views.instance_group(self._group(each["selfLink"])) for each in found]
            kind = "compute#instanceGroupList" if "zone" in call.args else "compute#regionInstanceGroupList"
            path = f"{scope}/instanceGroups"
            return {"kind": kind, "id": path, "selfLink": link(path), **listing.page(items, query)}
        group = self._group(f"{scope}/instanceGroupManagers/{call.args['instanceGroup']}")
        if verb == "get":
            return views.instance_group(group)
        if verb == "listInstances":
            return views.instances(group, query, body)
        raise rules.refuse_unknown(f"{call.method} is not implemented")

    def _group(self, url: str) -> Group:
        path = path_of(url, "")
        if (group := self.groups.get(path)) is None:
            raise not_found(path)
        return group

    def add(self, path: str, body: Json) -> Group:
        """At once, as the world file does."""
        self._around.store.add(path, self._complete(path, body), KIND, fingerprint=True)
        group = self.groups[path] = Group(path, self._around)
        for work in (group.work(), heal(group, self._around)):
            self._begin(work)
        return group

    def _complete(self, path: str, body: Json) -> Json:
        """The resource that an insert makes of its body. Raises ApiError."""
        project, scope = path.split("/")[1], "/".join(path.split("/")[2:4])
        zones = (
            1
            if "/zones/" in path
            else len(body.get("distributionPolicy", {}).get("zones", []))
            or len(self._around.zones(path.split("/")[3])[:3])
        )
        kind, where = scope.split("/")
        body = with_links(body, project)
        versions = body.get("versions") or [{"instanceTemplate": body["instanceTemplate"]}]
        default = {"fixed": zones}
        resource = {
            "baseInstanceName": body["name"],
            "listManagedInstancesResults": "PAGELESS",
            **body,
            "versions": [_with_url(version, project) for version in versions],
            "updatePolicy": {
                "type": "OPPORTUNISTIC",
                "minimalAction": "REPLACE",
                "replacementMethod": "SUBSTITUTE",
                "maxSurge": default,
                "maxUnavailable": default,
                **({"instanceRedistributionType": "PROACTIVE"} if kind == "regions" else {}),
                **body.get("updatePolicy", {}),
            },
            "instanceLifecyclePolicy": {
                "defaultActionOnFailure": "REPAIR",
                "forceUpdateOnRepair": "NO",
                "onFailedHealthCheck": "DEFAULT_ACTION",
                **body.get("instanceLifecyclePolicy", {}),
            },
            "standbyPolicy": {"mode": "MANUAL", "initialDelaySec": 0},
            "targetStoppedSize": 0,
            "targetSuspendedSize": 0,
            "instanceGroup": group_link(path),
            kind.removesuffix("s"): link(f"projects/{project}/{kind}/{where}"),
        }
        resource["instanceTemplate"] = resource["versions"][-1]["instanceTemplate"]
        self._check(resource, project, zones)
        return resource

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._around.faults.violation(f"a group's own work ended: {error!r}")

    def _check(self, resource: Json, project: str, zones: int) -> None:
        rules.check_group(resource, zones)
        for version in resource["versions"]:
            self._around.store.get(path_of(version["instanceTemplate"], project))

    def _insert(self, call: Call, path: str, query: Query, body: Json) -> Json:
        if self._around.store.find(path):
            self._around.store.add(path, {}, "", fingerprint=False)  # raises
        self._complete(path, body)

        async def effect() -> None:
            self.add(path, body)

        return self._operations.start(call, query, {"selfLink": link(path)}, effect)

    def _start(self, call: Call, group: Group, query: Query, schedule: Callable[[], None]) -> Json:
        async def effect() -> None:
            if group.path not in self.groups:
                raise not_found(group.path)
            schedule()

        return self._operations.start(call, query, group.resource, effect)

    def _patch(self, call: Call, group: Group, query: Query, body: Json) -> Json:
        check_fingerprint(group.resource, body)
        change = {k: v for k, v in with_links(body, group.project).items() if k not in OUTPUT_ONLY}
        if "versions" in change:
            change["versions"] = [_with_url(version, group.project) for version in change["versions"]]
        elif "instanceTemplate" in change:
            change["versions"] = [_with_url({"instanceTemplate": change["instanceTemplate"]}, group.project)]
        for name in ("maxSurge", "maxUnavailable"):  # fixed and percent exclude each other: the new one wins
            if given := change.get("updatePolicy", {}).get(name):
                change["updatePolicy"][name] = {"fixed": None, "percent": None, **given}
        self._check(merged(group.resource, change), group.project, len(group.zones()))

        def schedule() -> None:
            check_fingerprint(group.resource, body)
            result = merged(group.resource, change)
            result["instanceTemplate"] = result["versions"][-1]["instanceTemplate"]
            group.resource.clear()
            group.resource.update(result)
            self._around.store.touch(group.resource)

        return self._start(call, group, query, schedule)

    def _delete_group(self, call: Call, group: Group, query: Query) -> Json:
        rules.check_unused(path_of(group_link(group.path), ""), self._around.store)

        async def effect() -> None:
            group.going = False
            group.delete([each for each in group.managed.values() if not each.leaving])
            while group.managed:
                await self._around.clock.sleep(self._around.clock.delays.look)
            del self.groups[group.path]
            self._around.store.remove(group.path)

        return self._operations.start(call, query, group.resource, effect)

    def _resize(self, group: Group, size: int) -> None:
        rules.check_size(size)
        group.target = size
        group.look()

    def _create(self, call: Call, group: Group, query: Query, body: Json) -> Json:
        names = [each["name"] for each in body.get("instances", [])]
        rules.check_count(names)
        for name in names:
            rules.check_name("instances.name", name)

        def schedule() -> None:
            for name in names:
                if name in group.managed or self._taken(group, name):
                    raise rules.name_taken(name)
            group.target += len(names)
            group.create(0, names)

        return self._start(call, group, query, schedule)

    def _taken(self, group: Group, name: str) -> bool:
        paths = [f"projects/{group.project}/zones/{zone}/instances/{name}" for zone in group.zones()]
        return any(self._around.machines.find(path) for path in paths)

    def _leave(
        self, call: Call, group: Group, query: Query, body: Json, leave: Callable[[Sequence[Managed]], None]
    ) -> Json:
        self._chosen(group, body)

        def schedule() -> None:
            chosen = self._chosen(group, body)
            group.target -= len(chosen)
            leave(chosen)

        return self._start(call, group, query, schedule)

    def _chosen(self, group: Group, body: Json) -> list[Managed]:
        urls: list[str] = body.get("instances", [])
        rules.check_count(urls)
        rules.check_urls_or_names(urls)
        found = []
        for url in urls:
            if "/" in url:
                rules.check_place(path_of(url, group.project), group.path)
            managed = group.managed.get(name_of(url))
            if not body.get("skipInstancesOnValidationError"):
                rules.check_member(url, managed is not None, managed is not None and managed.leaving)
            if managed is not None and not managed.leaving:
                found.append(managed)
        return found

    def _apply(self, call: Call, group: Group, query: Query, body: Json) -> Json:
        """ "By default, the minimum action is NONE": then only outdated instances are replaced."""
        rules.check_apply(body)
        chosen = [m for m in group.managed.values() if not m.leaving]
        if not body.get("allInstances"):
            chosen = self._chosen(group, body)

        def schedule() -> None:
            old = {member.name for member in group.outdated()}
            every = body.get("minimalAction", "NONE") in {"RESTART", "REPLACE"}
            group.recreate([m for m in chosen if every or m.name in old])

        return self._start(call, group, query, schedule)


def _with_url(version: Json, project: str) -> Json:
    """targetSize.calculated is "Output only"; references are kept as Google's URLs."""
    result = {**version, "instanceTemplate": link(path_of(version["instanceTemplate"], project))}
    if "targetSize" in version:
        result["targetSize"] = {key: value for key, value in version["targetSize"].items() if key != "calculated"}
        if not result["targetSize"]:  # a client that sends back what it read: only the calculated rest
            del result["targetSize"]
    return result
