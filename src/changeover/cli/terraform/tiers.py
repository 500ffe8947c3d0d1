"""The tiers of a chain as groups of Google Cloud: names, ports, agents, and what sends each its requests.

A chain file of kind gcp names its resources; for one of this machine the names follow from its tiers. Refuses software
that no agent can ask, and one name for two resources.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from changeover.agent.settings import AgentFile
from changeover.cli.commands.agent import read_settings
from changeover.cli.terraform import hcl
from changeover.model.chain import Chain, Tier
from changeover.model.chainfile import ParsedChain
from changeover.model.errors import fail
from changeover.model.health import QUESTION
from changeover.model.platform import InstanceTemplate, Traffic

TOKEN_FILE = "/etc/changeover/agent.token"
AGENT_PORT = 9180
_AGENT_TLS = {"certificate": "/etc/changeover/agent.crt", "key": "/etc/changeover/agent.key"}
_CLIENT_CA = "/etc/changeover/agent-clients.crt"
"""Files of the image."""
_USUAL: Mapping[str, tuple[int, str]] = {
    "nginx": (80, "127.0.0.1:8081"),
    "nginx-stream": (443, "127.0.0.1:8081"),
    "haproxy": (80, "unix:/run/haproxy/admin.sock"),
    "haproxy-tcp": (443, "unix:/run/haproxy/admin.sock"),
    "kong": (8000, "127.0.0.1:8007"),
    "envoy": (8080, "127.0.0.1:9901"),
    "relay": (8080, "127.0.0.1:9090"),
    "app": (8000, ""),
}
"""Kind -> the port that serves, and where the software answers the agent: the examples of docs/agent.md."""
_TLS = (443, 8443)


@dataclass(frozen=True)
class CloudTier:
    """`front`: the tier whose VMs send it requests where it has no backend service; None: a router elsewhere does."""

    name: str
    kind: str
    group: str
    second_group: str | None
    """The group that takes turns with it."""
    traffic: Traffic | None
    """The weights between the two."""
    size: int
    surge: int
    services: tuple[str, ...]
    templates: Mapping[str, str]
    """Instance template -> its region; empty for a global one."""
    first: str
    agent: AgentFile
    edge: bool
    front: str | None
    zonal: bool

    @property
    def label(self) -> str:
        return hcl.label(self.name)

    @property
    def manager(self) -> str:
        """The kind of its group."""
        return f"google_compute_{'' if self.zonal else 'region_'}instance_group_manager"

    @property
    def tag(self) -> str:
        return hcl.name(self.group)

    @property
    def agent_port(self) -> int:
        return int(self.agent.listen.rpartition(":")[2])

    @property
    def agent_scheme(self) -> str:
        """What its agents speak, to health checks as well."""
        return "https" if self.agent.tls else "http"

    @property
    def protocol(self) -> str:
        """Between the load balancer and the VMs."""
        if self.kind in ("nginx-stream", "haproxy-tcp"):
            return "TCP"
        return "HTTPS" if self.agent.port in _TLS else "HTTP"


def cloud_tiers(parsed: ParsedChain, given: Sequence[str], *, zonal: bool) -> list[CloudTier]:
    """`given`: `TIER.KEY=VALUE`, keys of the agent of a tier. Raises ChangeoverError."""
    chain = parsed.chain
    settings: dict[str, list[str]] = {tier.name: [] for tier in chain.tiers}
    for word in given:
        tier, dot, rest = word.partition(".")
        if not dot or tier not in settings:
            known = ", ".join(settings)
            raise fail(
                f"--set {word}: TIER.KEY=VALUE is needed, such as {chain.tiers[0].name}.port=443",
                next=f"The chain has: {known}.",
            )
        settings[tier].append(rest)
    found = [_cloud_tier(parsed, tier, settings[tier.name], zonal=zonal) for tier in chain.tiers]
    for what, names in (
        ("group", [group for tier in found for group in (tier.group, tier.second_group) if group is not None]),
        ("backend service", [service for tier in found for service in tier.services]),
        ("instance template", [template for tier in found for template in tier.templates]),
    ):
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise fail(f"two tiers have the {what} {twice[0]}", next="Give each tier one of its own.")
    return found


def _cloud_tier(parsed: ParsedChain, tier: Tier, given: Sequence[str], *, zonal: bool) -> CloudTier:
    chain = parsed.chain
    front = chain.in_front(tier.name)
    services = _services(chain, tier, front, outside=tier.name in parsed.routers)
    templates = _templates(parsed, tier)
    return CloudTier(
        name=tier.name,
        kind=tier.kind,
        group=tier.group or hcl.name(tier.name, "-mig"),
        second_group=_second_group(chain, tier) if services else None,
        traffic=tier.traffic,
        size=tier.size,
        surge=max(tier.surge, 1),
        services=services,
        templates=dict(templates),
        first=templates[0][0],
        agent=read_settings(None, [*_usual(chain, tier), *given], f"{tier.name}."),
        edge=front is None,
        front=front.name if front is not None and not services and tier.name not in parsed.routers else None,
        zonal=zonal,
    )


def _second_group(chain: Chain, tier: Tier) -> str | None:
    if chain.platform.kind == "gcp" or tier.update.strategy != "blue-green":
        return tier.second_group
    return hcl.name(tier.name, "-mig-2")


def _services(chain: Chain, tier: Tier, front: Tier | None, *, outside: bool) -> tuple[str, ...]:
    if chain.platform.kind == "gcp" or outside:
        return tier.backend_services
    return () if front is not None and front.kind == "envoy" else (hcl.name(tier.name, "-bs"),)


def _templates(parsed: ParsedChain, tier: Tier) -> list[tuple[str, str]]:
    """Name and region of each instance template."""
    found = []
    for name, settings in parsed.settings[tier.name].items():
        if not isinstance(settings, InstanceTemplate):
            found.append((hcl.name(f"{tier.name}-{name}"), ""))
            continue
        parts = settings.path.split("/")
        found.append((parts[-1], parts[1] if parts[0] == "regions" else ""))
    return found


def _usual(chain: Chain, tier: Tier) -> list[str]:
    """The settings of the agent of a tier, as `--set` takes them."""
    port, control = _USUAL[tier.kind]
    agent_port = tier.agent.port if tier.agent is not None else AGENT_PORT
    found: dict[str, object] = {"kind": tier.kind, "port": port, "listen": f"0.0.0.0:{agent_port}"}
    if control:
        found["control"] = control
    found["token_file"] = TOKEN_FILE
    if tier.agent is not None and tier.agent.tls is not None:
        found["tls"] = {**_AGENT_TLS, **({"client_ca": _CLIENT_CA} if tier.agent.tls.certificate else {})}
    if tier.kind == "app" and (asked := sorted(set(QUESTION) & tier.health.model_fields_set)):
        found["health"] = tier.health.model_dump(mode="json", include=set(asked))
    members = [inner.name for inner in chain.behind(tier.name) if not inner.backend_services and inner.router is None]
    if tier.kind == "envoy" and members:
        found["members"] = {name: f"/run/changeover-agent/{name}.json" for name in members}
    return [f"{key}={json.dumps(value)}" for key, value in found.items()]
