"""What a group does next: pure functions of its instances and its policy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.gcp.fake.resources.links import link
from tests.gcp.fake.wire.errors import Json


@dataclass(frozen=True)
class Version:
    name: str
    template: str
    """Its path from `projects/` on."""

    def resource(self) -> Json:
        return {**({"name": self.name} if self.name else {}), "instanceTemplate": link(self.template)}


@dataclass(frozen=True)
class Member:
    """An instance that is not being deleted or abandoned."""

    name: str
    zone: str
    version: Version
    available: bool
    """maxUnavailable: "The instance's status is RUNNING. If there is a health check on the instance group, the
    instance's health check status must be HEALTHY at least once."""


@dataclass(frozen=True)
class Plan:
    create: int = 0
    delete: list[str] = field(default_factory=list)
    recreate: list[str] = field(default_factory=list)


def calculated(value: Json, target: int, *, up: bool = False) -> int:
    """FixedOrPercent.calculated. `up`: maxSurge is rounded up, everything else down."""
    if "percent" in value:
        exact: float = target * value["percent"] / 100
        return math.ceil(exact) if up else int(exact)
    return int(value.get("fixed", 0))


def shares(versions: Sequence[tuple[Version, Json | None]], target: int) -> list[tuple[Version, int]]:
    """How many instances each version shall have; the one without targetSize has the rest.

    targetSize: "If expressed as a fixed number, the minimum of either targetSize.fixed or
    instanceGroupManager.targetSize is used"; a percentage is rounded.
    """
    given = [(v, min(target, _rounded(size, target))) for v, size in versions if size is not None]
    rest = max(0, target - sum(count for _, count in given))
    return [*given, *((v, rest) for v, size in versions if size is None)]


def _rounded(size: Json, target: int) -> int:
    return round(target * size["percent"] / 100) if "percent" in size else int(size.get("fixed", 0))


def outdated(members: Sequence[Member], wanted: Sequence[tuple[Version, int]]) -> list[Member]:
    """Those whose version is none of the group's, or of whose version there are too many while another lacks some.

    A version is its template *and* its name: `rolling-action replace` of gcloud changes nothing but the names, and
    `start-update` keeps the name that a template has.
    """
    left, have = Counter(dict(wanted)), Counter(m.version for m in members)
    lacking = {version for version, count in wanted if have[version] < count}
    found = []
    for member in sorted(members, key=lambda m: not m.available):  # a version keeps those that serve
        if left[member.version] > 0:
            left[member.version] -= 1
        elif member.version not in left or lacking - {member.version}:
            found.append(member)
    return found


def next_version(members: Sequence[Member], wanted: Sequence[tuple[Version, int]]) -> Version:
    """Of a new instance: "to create new instances in the managed instance group until the targetSize for this version
    is reached"; the last in `wanted` has the rest."""
    have = Counter(m.version for m in members)
    return next((v for v, count in wanted[:-1] if have[v] < count), wanted[-1][0])


def update(members: Sequence[Member], old: Sequence[Member], target: int, policy: Json) -> Plan:
    """One step of the group's updater. Instances whose deletion has begun do not count: the quickest it could be."""
    surge = calculated(policy["maxSurge"], target, up=True)
    unavailable = calculated(policy["maxUnavailable"], target)
    spare = sum(m.available for m in members) - (target - unavailable)
    idle = [m.name for m in old if not m.available]
    serving = [m.name for m in old if m.available]
    may_go = [*idle, *serving[: max(0, spare)]]
    if policy.get("replacementMethod") == "RECREATE":
        return Plan(recreate=may_go)
    lacking = target - (len(members) - len(old))
    return Plan(create=max(0, min(lacking, target + surge - len(members))), delete=may_go)


def shrink(members: Sequence[Member], old: Sequence[Member], excess: int) -> list[str]:
    """Whom a smaller group deletes: those that do not serve, then the outdated, from the fullest zone.

    resize: "the instance group arbitrarily chooses the order", by status, health, version and zone.
    """
    names: list[str] = []
    left = list(members)
    aged = {m.name for m in old}
    for _ in range(excess):
        zones = Counter(m.zone for m in left)
        chosen = min(left, key=lambda m: (m.available, m.name not in aged, -zones[m.zone], m.name))
        names.append(chosen.name)
        left.remove(chosen)
    return names


def zone_for(members: Sequence[Member], zones: Sequence[str]) -> str:
    """The emptiest of a group's zones: targetShape EVEN."""
    have = Counter(m.zone for m in members)
    return min(zones, key=lambda zone: (have[zone], zones.index(zone)))
