"""Rules that the schema does not hold. Each function cites the text that it comes from.

"field": a description in the discovery document, revision 20261106. "page": Google's documentation. "message": an error
of the API that an issue quotes. Nothing here is a guess; what is not documented is not refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from uuid import UUID

from tests.gcp.fake.resources.links import name_of
from tests.gcp.fake.resources.store import Store
from tests.gcp.fake.wire.errors import ApiError, Json, in_use, invalid

RFC1035 = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
MOST_INSTANCES = 1000


def check_group(body: Json, zones: int) -> None:
    """Everything about a group's resource; `zones`: how many it spreads over."""
    check_name("resource.name", body["name"])
    check_size(int(body["targetSize"]))
    check_versions(body.get("versions", []))
    check_base_name(body.get("baseInstanceName") or body["name"])
    check_initial_delay(body.get("autoHealingPolicies", []))
    if policy := body.get("updatePolicy"):
        check_update_policy(policy, int(body["targetSize"]), zones)


def check_name(field: str, name: str) -> None:
    """Field name: "The name must be 1-63 characters long, and comply with RFC1035"."""
    if not RFC1035.fullmatch(name):
        raise invalid(field, name, "Must be a match of regex '(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)'")


def check_size(size: int) -> None:
    """instanceGroupManagers.insert: "A managed instance group can have up to 1000 VM instances per group" (2000 for a
    regional one, and more by request: only what can be no size is refused)."""
    if not 0 <= size <= 2000:
        raise invalid("resource.targetSize", size, "Must be between 0 and 2000.")


def check_base_name(name: str) -> None:
    """Field baseInstanceName: "The maximum character length is 58"."""
    if len(name) > 58:
        raise invalid("resource.baseInstanceName", name, "The maximum length is 58 characters.")


def check_versions(versions: Sequence[Json]) -> None:
    """Field versions: "Every version can appear at most once per instance group", "Exactly one version must leave the
    targetSize field unset"."""
    if versions and sum("targetSize" not in each for each in versions) != 1:
        raise invalid("resource.versions", len(versions), "Exactly one version must leave targetSize unset.")
    seen = [(each.get("name"), name_of(each.get("instanceTemplate", ""))) for each in versions]
    if len(seen) != len(set(seen)):
        raise invalid("resource.versions", seen, "Every version can appear at most once.")


def check_initial_delay(policies: Sequence[Json]) -> None:
    """Field autoHealingPolicies: "You can specify only one value"; initialDelaySec "must be between 0 and 3600"."""
    if len(policies) > 1:
        raise invalid("resource.autoHealingPolicies", len(policies), "Only one policy can be specified.")
    for policy in policies:
        if not 0 <= (delay := policy.get("initialDelaySec", 0)) <= 3600:
            raise invalid("resource.autoHealingPolicies[0].initialDelaySec", delay, "Must be between 0 and 3600.")


def check_update_policy(policy: Json, size: int, zones: int) -> None:
    surge, unavailable = policy.get("maxSurge", {}), policy.get("maxUnavailable", {})
    for name, value in (("maxSurge", surge), ("maxUnavailable", unavailable)):
        field = f"resource.updatePolicy.{name}"
        check_percent(field, value, size)
        check_zones(field, value, zones)
    check_some_move(surge, unavailable)
    check_recreate(policy, surge)
    if policy.get("minimalAction") == "RESTART":
        raise refuse_unknown("minimalAction RESTART is not implemented")


def check_percent(field: str, value: Json, size: int) -> None:
    """Field maxSurge: "either a fixed number or, if the group has 10 or more instances, a percentage"."""
    if "percent" in value and "fixed" in value:
        raise invalid(field, value, "Only one of fixed and percent can be set.")
    if "percent" in value and size < 10:
        raise invalid(field, value, "Percent is allowed only for groups with 10 or more instances.")


def check_zones(field: str, value: Json, zones: int) -> None:
    """Message: "Fixed updatePolicy.maxUnavailable for regional managed instance group has to be either 0 or at least
    equal to the number of zones" (terraform-example-foundation#427)."""
    if zones > 1 and 0 < value.get("fixed", 0) < zones:
        raise invalid(field, value["fixed"], f"Has to be either 0 or at least equal to the number of zones ({zones}).")


def check_some_move(surge: Json, unavailable: Json) -> None:
    """Field maxSurge: "At least one of either maxSurge or maxUnavailable must be greater than 0"."""
    if not any(value.get("fixed", 0) or value.get("percent", 0) for value in (surge, unavailable)):
        text = "At least one of maxSurge and maxUnavailable must be greater than 0."
        raise invalid("resource.updatePolicy.maxUnavailable", 0, text)


def check_recreate(policy: Json, surge: Json) -> None:
    """Message: maxSurge must be 0 when the replacement method is RECREATE (magic-modules#8210)."""
    if policy.get("replacementMethod") == "RECREATE" and (surge.get("fixed", 0) or surge.get("percent", 0)):
        raise invalid("resource.updatePolicy.maxSurge", surge, "maxSurge must be 0 for RECREATE.")


def check_count(instances: Sequence[object]) -> None:
    """Methods: "You can specify a maximum of 1000 instances with this method per request"."""
    if len(instances) > MOST_INSTANCES:
        raise invalid("instances", len(instances), f"At most {MOST_INSTANCES} instances per request.")
    if not instances:
        raise invalid("instances", "", "At least one instance must be specified.")


def check_urls_or_names(instances: Sequence[str]) -> None:
    """Field instances of deleteInstances: "One cannot specify both URLs and names in a single request"."""
    if len({"/" in each for each in instances}) > 1:
        raise invalid("instances", instances, "Cannot specify both URLs and names.")


def name_taken(name: str) -> ApiError:
    """createInstances: names are unique in their zone, as those of all instances are."""
    return ApiError(409, "alreadyExists", f"An instance named '{name}' already exists.")


def check_member(name: str, known: bool, leaving: bool) -> None:
    """Field skipInstancesOnValidationError: "If this field is set to `false` and such an instance is specified in the
    request, the operation fails": one that is no member, or is already being deleted or abandoned."""
    if not known:
        raise invalid("instances", name, "Instance is not a member of the managed instance group.")
    if leaving:
        raise invalid("instances", name, "Instance is already being deleted or abandoned.")


def check_place(path: str, group: str) -> None:
    """The same field: "always fails if the request contains a malformed instance URL or a reference to an instance that
    exists in a zone or region other than the group's zone or region"."""
    found = re.fullmatch(r"projects/[^/]+/zones/([^/]+)/instances/[^/]+", path)
    if found is None:
        raise invalid("instances", path, "Malformed instance URL.")
    _, _, scope, where, *_ = group.split("/")
    if not (found[1] == where if scope == "zones" else found[1].startswith(f"{where}-")):
        raise invalid("instances", path, f"The instance is not in {where}.")


def check_apply(body: Json) -> None:
    """Field allInstances: "If the flag is set to true then the instances may not be specified in the request"."""
    if body.get("allInstances") and body.get("instances"):
        raise invalid("instances", len(body["instances"]), "Must be empty when allInstances is set.")


def check_request_id(value: str) -> None:
    """Parameter requestId: "must be a valid UUID with the exception that zero UUID is not supported"."""
    try:
        valid = UUID(value).int != 0
    except ValueError:
        valid = False
    if not valid:
        raise invalid("requestId", value, "Must be a valid UUID.")


def check_plain(collection: str, body: Json) -> None:
    check_name("resource.name", body["name"])
    if collection == "backendServices":
        check_drain(body.get("connectionDraining", {}))
        check_backends(body.get("backends", []))
    elif collection == "healthChecks":
        check_check(body)
    elif collection == "urlMaps":
        check_weights(body)


def check_backends(backends: Sequence[Json]) -> None:
    """Field group of backends: "You must use the *fully-qualified* URL ... Partial URLs are not supported"."""
    for backend in backends:
        if not (group := backend.get("group", "")).startswith(("https://", "http://")):
            raise invalid("resource.backends.group", group, "Must be a fully-qualified URL.")


def check_drain(draining: Json) -> None:
    """Page "Enable connection draining": from 0 to 3,600 seconds."""
    if not 0 <= (seconds := draining.get("drainingTimeoutSec", 0)) <= 3600:
        raise invalid("resource.connectionDraining.drainingTimeoutSec", seconds, "Must be between 0 and 3600.")


def check_check(body: Json) -> None:
    """Field timeoutSec of healthChecks: "It is invalid for timeoutSec to have greater value than checkIntervalSec"."""
    if body.get("timeoutSec", 5) > body.get("checkIntervalSec", 5):
        raise invalid("resource.timeoutSec", body["timeoutSec"], "Must not be greater than checkIntervalSec.")


def check_weights(body: Json) -> None:
    """Field weight of weightedBackendServices: "The value must be from 0 to 1000"."""
    actions = [body.get("defaultRouteAction", {})]
    for matcher in body.get("pathMatchers", []):
        actions.append(matcher.get("defaultRouteAction", {}))
        actions += [
            rule.get("routeAction", {}) for rule in matcher.get("pathRules", []) + matcher.get("routeRules", [])
        ]
    for action in actions:
        for each in action.get("weightedBackendServices", []):
            if not 0 <= each.get("weight", 0) <= 1000:
                raise invalid("weightedBackendServices.weight", each["weight"], "Must be between 0 and 1000.")


USERS = {
    "/instanceTemplates/": ("compute#instanceGroupManager", "instanceTemplate", "versions"),
    "/healthChecks/": ("compute#backendService", "healthChecks", ""),
    "/instanceGroups/": ("compute#backendService", "backends", ""),
    "/backendServices/": ("compute#forwardingRule", "backendService", ""),
}


def check_unused(path: str, store: Store) -> None:
    """instanceTemplates.delete: "It is not possible to delete templates that are already in use by a managed instance
    group"; instanceGroupManagers.delete: "the instance group must not belong to a backend service"; the same for
    checks of services and services of rules (resourceInUseByAnotherResource)."""
    for part, (kind, *fields) in USERS.items():
        if part not in path:
            continue
        for resource in store.of_kind(kind):
            if any(_names(resource.get(field), path) for field in fields if field):
                raise in_use(path, resource["selfLink"].split("/compute/v1/")[-1])


def _names(value: object, path: str) -> bool:
    match value:
        case str():
            return value.endswith(path.partition("/")[2].partition("/")[2]) or path.endswith(value)
        case list():
            return any(_names(each, path) for each in value)
        case dict():
            return any(_names(each, path) for each in value.values())
    return False


def refuse_unknown(problem: str) -> ApiError:
    """What this fake cannot do is an error that no client could take for Google's."""
    return ApiError(501, "notImplemented", f"fake: {problem}")
