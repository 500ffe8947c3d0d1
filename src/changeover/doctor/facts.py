"""What the checks know of one tier: resources as the Compute API answers them in JSON, and what its agents answered.

Refuses to fill gaps: a resource that the API says is not there is None, and one that could not be read is in `unread`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Resource = Mapping[str, Any]
LEAVES = ("DELETING", "ABANDONING")
"""Actions of a group after which a VM is none of it: what the last roll has emptied is deleted for a while."""
MARGIN = 30.0
"""Seconds beside the time of a body: the application's own work, and the way of the answer."""


@dataclass(frozen=True)
class AgentAnswer:
    """`status` is the document, or the reason in words why there is none."""

    status: Resource | str
    asked_at: float
    """Seconds since 1970, by the clock of the controller."""
    cure: str = ""
    """What corrects the reason, where that is known."""


@dataclass(frozen=True)
class UploadLoad:
    """The largest body that clients send, and the slowest of them."""

    size: int = 50_000_000
    """Bytes."""
    rate: float = 1_000_000.0
    """Bits per second."""

    @property
    def seconds(self) -> float:
        """That the longest request takes at most."""
        return 8 * self.size / self.rate + MARGIN


@dataclass(frozen=True)
class UrlMap:
    """What a URL map says of weights. Paths of services are below the project."""

    name: str
    weighted: tuple[Mapping[str, int], ...]
    """Of each `weightedBackendServices`: service -> weight."""
    direct: frozenset[str]
    """Services that a rule leads to without a weight."""


@dataclass(frozen=True)
class GroupFacts:
    """What adopting a tier needs. Links to resources are paths below the project, as `global/healthChecks/ready`."""

    tier: str
    kind: str
    place: str
    """For gcloud: `--zone=Z` or `--region=R`."""
    group_name: str
    group: Resource | None
    autoscaler: Resource | None
    vms: Sequence[Resource]
    """As `listManagedInstances` lists them."""
    services: Mapping[str, Resource | None]
    """By name, as the chain file names them: those that the group is to be behind."""
    paths: Mapping[str, str]
    """Template of the chain file -> the path of its instance template."""
    agent_port: int
    agent_tls: bool
    """Whether the controller asks the agents over TLS."""
    size: int | None = None
    """How many instances the chain file wants, if it says so."""
    has_router: bool = False
    """Whether a router with a list of members needs the port at which the VMs serve."""
    url_map_name: str = ""
    """Of the URL map whose weights share the requests between two groups; empty: the tier has none."""
    url_map: UrlMap | None = None
    unread: Mapping[str, str] = field(default_factory=dict)
    """What could not be read, and why."""
    idle: GroupFacts | None = None
    """Of a tier with two groups: the same tier with the other group, which has no VM while the tier is at rest."""

    @property
    def where(self) -> str:
        return f"tier {self.tier}, group {self.group_name}"

    @property
    def regional(self) -> bool:
        return self.place.startswith("--region")

    @property
    def staying(self) -> list[Resource]:
        """The VMs that the group does not delete."""
        return [vm for vm in self.vms if part(vm, "currentAction", "NONE") not in LEAVES]

    @property
    def port(self) -> int:
        """Where the VMs serve: the named port of the services, or the only one; 0: it is not known."""
        named = {part(one, "name"): int(part(one, "port", 0)) for one in part(self.group, "namedPorts", ())}
        wanted = {part(service, "portName", "http") for _, service in self.present()}
        ports = {named[name] for name in wanted if name in named}
        ports = ports or (set() if self.services else set(named.values()))
        return ports.pop() if len(ports) == 1 else 0

    @property
    def agent_scheme(self) -> str:
        """`http` or `https`: also the kind of a health check that asks an agent, for gcloud."""
        return "https" if self.agent_tls else "http"

    def present(self) -> Iterator[tuple[str, Resource]]:
        """The backend services that exist."""
        return ((name, service) for name, service in self.services.items() if service is not None)


@dataclass(frozen=True, kw_only=True)
class TierFacts(GroupFacts):
    """What a roll of the tier needs beside: what health checks and templates have, and what the agents answer."""

    checks: Mapping[str, Resource | None]
    """Health checks of the services and of autohealing, by path."""
    templates: Mapping[str, Resource | None]
    """Instance templates of the chain file, by path."""
    agents: Mapping[str, AgentAnswer]
    """By VM."""
    load: UploadLoad
    out: frozenset[str] = frozenset()
    """VMs whose agent does not answer and that every backend service finds unhealthy."""
    idle: TierFacts | None = None


def part(resource: Resource | None, path: str, default: Any = None) -> Any:
    """`part(group, "updatePolicy.maxSurge.fixed", 0)`; the default where a key on the way is missing."""
    found: Any = resource
    for key in path.split("."):
        if not isinstance(found, Mapping) or (found := found.get(key)) is None:
            return default
    return found


def below_project(link: str) -> str:
    """`https://HOST/compute/VERSION/projects/P/zones/Z/…` -> `zones/Z/…`: links have any host and version."""
    _, found, rest = link.partition("projects/")
    return rest.partition("/")[2] if found else link


def short(link: str) -> str:
    return link.rpartition("/")[2]


def check_flag(path: str) -> str:
    """Where a health check is, for gcloud: `--global` or `--region=R`."""
    scope = path.split("/")
    return f"--region={scope[1]}" if scope[0] == "regions" else "--global"
