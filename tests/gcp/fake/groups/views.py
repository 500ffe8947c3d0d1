"""What the API shows of a group: the manager, its managed instances, and the instance group of balancers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from tests.gcp.fake.groups import planning
from tests.gcp.fake.groups.group import Group
from tests.gcp.fake.resources import listing
from tests.gcp.fake.resources.links import link, path_of
from tests.gcp.fake.resources.store import Store
from tests.gcp.fake.wire.errors import Json

Query = Mapping[str, str]
COUNTS = {
    "NONE": "none",
    "CREATING": "creating",
    "CREATING_WITHOUT_RETRIES": "creatingWithoutRetries",
    "RECREATING": "recreating",
    "DELETING": "deleting",
    "ABANDONING": "abandoning",
    "RESTARTING": "restarting",
    "REFRESHING": "refreshing",
    "VERIFYING": "verifying",
}


def manager(group: Group, store: Store) -> Json:
    """The resource with its status and with every `calculated`."""
    resource = group.resource
    counts = {(version.name, version.template): count for version, count in group.wanted()}
    policy = dict(resource["updatePolicy"])
    for name in ("maxSurge", "maxUnavailable"):
        number = planning.calculated(policy[name], group.target, up=name == "maxSurge")
        policy[name] = {**policy[name], "calculated": number}
    versions = [
        {
            **version,
            "targetSize": {
                **version.get("targetSize", {}),
                "calculated": counts[version.get("name", ""), path_of(version["instanceTemplate"], group.project)],
            },
        }
        for version in resource["versions"]
    ]
    actions = Counter(m.action for m in group.managed.values())
    return {
        **resource,
        "versions": versions,
        "updatePolicy": policy,
        "status": _status(group, actions, store),
        "currentActions": {field: actions[action] for action, field in COUNTS.items()},
    }


def _status(group: Group, actions: Counter[str], store: Store) -> Json:
    """isStable: "none of the instances ... is currently undergoing any type of change", "no future changes are
    scheduled"; versionTarget.isReached: "all instances are in their target version"."""
    old = group.outdated()
    proactive = group.resource["updatePolicy"]["type"] == "PROACTIVE"
    scheduled = len(group.managed) != group.target or (proactive and old)
    status: Json = {
        "isStable": not (actions.keys() - {"NONE"}) and not scheduled,
        "versionTarget": {"isReached": not old},
        "stateful": {"hasStatefulConfig": False, "perInstanceConfigs": {"allEffective": True}},
        "allInstancesConfig": {"effective": True},
    }
    for autoscaler in store.of_kind("compute#autoscaler"):
        if path_of(autoscaler["target"], group.project) == group.path:
            status["autoscaler"] = autoscaler["selfLink"]
    return status


def aggregated(groups: Iterable[Group], store: Store, project: str, query: Query) -> Json:
    """Of every zone and region that has a group."""
    scopes: dict[str, Json] = {}
    for group in sorted(groups, key=lambda group: group.path):
        if listing.selected(query.get("filter", ""))(shown := manager(group, store)):
            scope = "/".join(group.path.split("/")[2:4])
            scopes.setdefault(scope, {"instanceGroupManagers": []})["instanceGroupManagers"].append(shown)
    path = f"projects/{project}/aggregated/instanceGroupManagers"
    return {"kind": "compute#instanceGroupManagerAggregatedList", "id": path, "selfLink": link(path), "items": scopes}


def managed_instances(group: Group, query: Query) -> Json:
    """listManagedInstancesResults: with PAGELESS, the default, "maxResults and pageToken query parameters are ignored
    and all instances are returned in a single response"."""
    check = group.check()
    items = [each.resource(check.url if check else None) for _, each in sorted(group.managed.items())]
    if group.resource["listManagedInstancesResults"] == "PAGINATED":
        return listing.page(items, query, "managedInstances")
    found = [item for item in items if listing.selected(query.get("filter", ""))(item)]
    return {"managedInstances": found} if found else {}


def instance_group(group: Group) -> Json:
    resource = group.resource
    where = "zone" if "zone" in resource else "region"
    return {
        "kind": "compute#instanceGroup",
        "id": str(int(resource["id"]) + 10**18),
        "name": resource["name"],
        "creationTimestamp": resource["creationTimestamp"],
        "selfLink": resource["instanceGroup"],
        where: resource[where],
        "namedPorts": resource.get("namedPorts", []),
        "size": len([m for m in group.managed.values() if m.vm is not None and not m.leaving]),
    }


def instances(group: Group, query: Query, body: Json) -> Json:
    """Of the instance group. An instance that is being deleted is out of it already: hence the drain."""
    running = body.get("instanceState") == "RUNNING"
    items = [
        {"instance": link(m.path), "status": m.vm.status, "namedPorts": group.resource.get("namedPorts", [])}
        for _, m in sorted(group.managed.items())
        if m.vm is not None and not m.leaving and (not running or m.vm.status == "RUNNING")
    ]
    scope = "regionInstanceGroups" if "region" in group.resource else "instanceGroups"
    path = path_of(group.resource["instanceGroup"], "")
    return {"kind": f"compute#{scope}ListInstances", "id": path, "selfLink": link(path), **listing.page(items, query)}
