"""The weights of a URL map, by which requests are shared between the two groups of a tier. Pure.

A service without a healthy VM answers its share of the requests with errors: a group gets none before its instances are
healthy, and its last instance becomes no lame duck before the share of the group is 0.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from changeover.model.errors import Problem
from changeover.platforms.gcp.api.services import Service
from changeover.platforms.gcp.api.url_maps import WHOLE, UrlMap
from changeover.ports import Membership

SCHEMES = ("EXTERNAL_MANAGED", "INTERNAL_MANAGED", "INTERNAL_SELF_MANAGED")
"""Of load balancers whose URL maps take weights."""


def split(totals: Mapping[str, int]) -> Mapping[str, int]:
    """The weight of each group, in proportion to what its instances are to get; none where nothing is known of any."""
    whole = sum(totals.values())
    if not whole:
        return {}
    first, *others = totals
    weight = round(WHOLE * totals[first] / whole)
    if 0 < totals[first] < whole:
        weight = min(max(weight, 1), WHOLE - 1)  # a group whose instances get a share gets one
    return {first: weight, **dict.fromkeys(others, WHOLE - weight)}


def shares(found: UrlMap, services: Mapping[str, str]) -> Mapping[str, int] | None:
    """Group -> its weight of 1000; None: the places of the map differ. `services`: group -> path of its service."""
    seen = []
    for weighted in found.weighted:
        here = {group: weighted.get(path, 0) for group, path in services.items()}
        if whole := sum(here.values()):
            seen.append({group: round(WHOLE * weight / whole) for group, weight in here.items()})
    return seen[0] if seen and all(one == seen[0] for one in seen) else None


def judge_share(
    found: Membership, share: int | None, none_for: float, weight: int | None, propagation: float
) -> Membership:
    """What the routers do with an instance of a group with that share.

    `found`: by the health in its service. `share`: of 1000; None: not known. `none_for`: seconds since it was 0 at
    every look. `weight`: that of the instance, where the map has what all weights together ask for.
    """
    if found.removed:
        return found
    if share is None:
        return Membership(
            admitted=False, removed=False, pending="its URL map, whose weights are not known", silent=True
        )
    if not share:
        pending = "its URL map, which sends its group nothing"
        return Membership(admitted=False, removed=none_for > 0 and none_for >= propagation, pending=pending)
    return replace(found, weight=weight) if found.admitted else found


def refusals_of_map(found: UrlMap, services: Mapping[str, Service], serving: str, where: str) -> Iterator[Problem]:
    """Why the map cannot share the requests of a tier. `services`: group -> its service."""
    unchanged, paths = "Nothing was changed.", {service.path for service in services.values()}
    for service in services.values():
        if service.scheme not in SCHEMES:
            yield Problem(
                f"backend service {service.name} has the scheme {service.scheme}, whose URL maps take no weights",
                where,
                unchanged,
                "Remove `traffic`: a canary is a share of the instances there.",
            )
        if service.affinity != "NONE":
            yield Problem(
                f"backend service {service.name} has the session affinity {service.affinity}, which weights override",
                where,
                unchanged,
                "Set `sessionAffinity` to NONE, or remove `traffic`.",
            )
    ours = [one for one in found.weighted if paths & one.keys()]
    if direct := sorted(paths & found.direct):
        yield Problem(
            f"URL map {found.name} leads to {_names(direct)} without a weight",
            where,
            unchanged,
            "Name both services of the tier in `weightedBackendServices` there, with the weights 1000 and 0.",
        )
    elif not ours or any(one.keys() != paths for one in ours):
        yield Problem(
            f"URL map {found.name} does not have {_names(sorted(paths))}, and no other service, in the same "
            "`weightedBackendServices`",
            where,
            unchanged,
            "Name both services of the tier wherever it names one, with the weights 1000 and 0.",
        )
    elif shares(found, {group: one.path for group, one in services.items()}) != {
        group: WHOLE if group == serving else 0 for group in services
    }:
        yield Problem(
            f"URL map {found.name} does not send all requests of the tier to group {serving}, which has its VMs",
            where,
            unchanged,
            f"Set the weight of {services[serving].name} to {WHOLE} and the other one to 0, wherever the map has them.",
        )


def _names(paths: Collection[str]) -> str:
    return " and ".join(path.rpartition("/")[2] for path in paths)
