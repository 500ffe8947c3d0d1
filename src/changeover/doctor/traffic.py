"""The URL map whose weights share the requests of a tier between its two groups: that it can, and that all is with one.

Refuses a map that another rule of the operator would have send requests to a group without instances.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from changeover.doctor.diagnosis import Diagnosis, Severity
from changeover.doctor.facts import GroupFacts, Resource, UrlMap, part, short

SCHEMES = ("EXTERNAL_MANAGED", "INTERNAL_MANAGED", "INTERNAL_SELF_MANAGED")
"""Of load balancers whose URL maps take weights, by the text of `weightedBackendServices`."""
WHOLE = 1000
"""The largest weight of a service: two weights add up to it."""
_REFUSED = "none: the roll is refused"
_NOWHERE = "error: requests go where no instance is, or to instances that are not ready"


def shares(found: UrlMap, services: Mapping[str, str]) -> Mapping[str, int] | None:
    """Group -> its weight of 1000; None: the places of the map differ. `services`: group -> path of its service."""
    seen = []
    for weighted in found.weighted:
        here = {group: weighted.get(path, 0) for group, path in services.items()}
        if whole := sum(here.values()):
            seen.append({group: round(WHOLE * weight / whole) for group, weight in here.items()})
    return seen[0] if seen and all(one == seen[0] for one in seen) else None


def check(facts: GroupFacts) -> Iterator[Diagnosis]:
    name, idle = facts.url_map_name, facts.idle
    if not name or idle is None or f"URL map {name}" in facts.unread:
        return
    where = f"tier {facts.tier}, URL map {name}"
    if facts.url_map is None:
        list_maps = f"gcloud compute url-maps list --filter=name={name}"
        yield Diagnosis(
            "url-map-missing", Severity.FATAL, where, f"there is no URL map {name}", _REFUSED, _REFUSED, list_maps
        )
        return
    groups = {one.group_name: service for one in (facts, idle) for _, service in one.present()}
    for service in groups.values():
        yield from _service(facts, service)
    if len(groups) == 2:
        yield from _weights(facts, facts.url_map, {group: _path(service) for group, service in groups.items()}, where)


def _service(facts: GroupFacts, service: Resource) -> Iterator[Diagnosis]:
    where = f"tier {facts.tier}, backend service {part(service, 'name', '')}"
    scheme, affinity = part(service, "loadBalancingScheme", "EXTERNAL"), part(service, "sessionAffinity", "NONE")
    if scheme not in SCHEMES:
        yield Diagnosis(
            "scheme-takes-no-weights",
            Severity.FATAL,
            where,
            f"its scheme is {scheme}, whose URL maps take no weights",
            _REFUSED,
            _REFUSED,
            "Remove `traffic` from the tier in the chain file: a canary is a share of the instances there.",
        )
    if affinity != "NONE":
        scope = f"--region={short(region)}" if (region := part(service, "region")) else "--global"
        yield Diagnosis(
            "affinity-with-weights",
            Severity.FATAL,
            where,
            f"its session affinity is {affinity}, and a session would stay at a group whose weight is 0",
            "error: sessions change between the groups with every change of the weights",
            "ok: it stays where it began",
            f"gcloud compute backend-services update {part(service, 'name', '')} {scope} --session-affinity=NONE",
        )


def _weights(facts: GroupFacts, found: UrlMap, paths: Mapping[str, str], where: str) -> Iterator[Diagnosis]:
    """`paths`: group -> the path of its service, of both groups."""
    services = set(paths.values())
    ours = [one for one in found.weighted if services & one.keys()]
    if direct := sorted(services & found.direct):
        read = f"it leads to {_names(direct)} without a weight"
    elif not ours or any(one.keys() != services for one in ours):
        read = f"it does not have {_names(sorted(services))}, and no other service, in the same"
        read += " `weightedBackendServices`"
    elif shares(found, paths) != {group: WHOLE if group == facts.group_name else 0 for group in paths}:
        read = f"it does not send all requests of the tier to group {facts.group_name}, which has its VMs"
    else:
        return
    scope = next(iter(services)).partition("/backendServices/")[0]
    flag = "--global" if scope == "global" else f"--region={short(scope)}"
    serving, idle = (short(paths[one]) for one in sorted(paths, key=lambda one: one != facts.group_name))
    yield Diagnosis(
        "weights-do-not-fit",
        Severity.FATAL,
        where,
        read,
        _NOWHERE,
        _NOWHERE,
        f"Name {serving} with weight {WHOLE} and {idle} with 0 in `weightedBackendServices` wherever the map names "
        f"one of them: gcloud compute url-maps edit {found.name} {flag}",
    )


def _path(service: Resource) -> str:
    """Below the project."""
    region = part(service, "region")
    return f"{f'regions/{short(region)}' if region else 'global'}/backendServices/{part(service, 'name', '')}"


def _names(paths: Collection[str]) -> str:
    return " and ".join(map(short, paths))
