"""What a hop is, as data: a chain file, its rules and its schema, a platform and the engine read it here.

Every registered hop carries one `HopTraits`; nothing outside a hop's folder asks for its name. What a hop can do beyond
the port is a capability protocol in `ports`, and `tests/unit/hops/test_conformance.py` keeps both consistent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Any, Literal

from changeover.model.chain import Chain, Tier
from changeover.model.config_model import ConfigModel
from changeover.model.readiness import Readiness
from changeover.model.router import RouterSettings
from changeover.model.stop import StopTo


@dataclass(frozen=True)
class BodyBuffer:
    """Where one instance stores request bodies before it passes them on: in files below a folder, without names.

    `limit`: bytes that they take at most; None: as many as the disk has room for.
    """

    folder: Path
    limit: int | None = None


def _in_memory(_: Any, __: Path) -> None:
    return None


@dataclass(frozen=True)
class HopTraits:
    """The facts of one kind of tier."""

    kind: str
    """Its name in a chain file."""
    settings: type[ConfigModel]
    """The schema of its templates."""
    takes: Literal["tls", "http", "bytes"]
    """What clients send to it as the first tier: TLS that it terminates, plain HTTP, or bytes that it passes on."""
    ready_path: str
    """Where `control` answers 200 while the instance may get traffic. Load balancers ask there, too."""
    stop_signal: Signals
    """The signal on which this software finishes what it has in flight and ends."""
    stop_to: StopTo = "leader"
    """Whether a stop signal goes to every process of an instance, or to the first one, which stops the others."""
    own_control: bool = True
    """Whether `control` is a listener of its own; otherwise it is `address`."""
    sees_uploads: bool = False
    """Whether `in_flight` lists every upload."""
    names_clients: bool = False
    """Whether, as the first tier, it reads a PROXY header and names the client in X-Forwarded-For."""
    trusts_peers: bool = False
    """Whether, as the first tier, it tells trusted peers from others: `LaunchContext.trusted_peers`."""
    control_paths: tuple[str, ...] = ()
    """Paths at the address that serves requests which load balancers and the controller ask, and no client."""
    passes_on: bool = True
    """Whether it sends requests to the tier behind it. The last tier of a chain does not."""
    branches: bool = False
    """Whether its routes may lead to several tiers behind it."""
    ends_with: str | None = None
    """The key of a template with which it can also be the last tier: a configuration that answers requests itself."""
    routes_inward: bool = False
    """Whether it balances over the tier behind it, instead of that tier's load balancer: `ports.RoutesInward`."""
    reaches_sockets: bool = False
    """Whether it then reaches instances at Unix sockets, and keeps no idle connection to one that it removed."""
    routes_by_agents: bool = False
    """Whether an agent beside it can keep the member list of the tier behind: `ports.RoutesByAgents`."""
    panics: bool = True
    """Whether it, as a router, sends requests to instances that are not ready when too few are: `health.panic`."""
    pools: bool = False
    """Whether it, as a router, keeps idle connections to an instance that it removed: `ports.PoolsConnections`."""
    counts_requests: bool = False
    """Whether it counts requests by instance behind it, for guards: `ports.CountsRequests`."""
    body_buffer: Callable[[Any, Path], BodyBuffer | None] = _in_memory
    """Settings of a template and the folder of an instance -> where it buffers bodies on a disk, if it does."""

    affinity_names: str = r"[A-Za-z0-9_.-]+"
    """Cookies and headers that it can balance the tier behind by: a pattern of their names."""
    passes_headers: str = r"[A-Za-z0-9_.-]+"
    """Headers of a request that it passes on: a pattern of their names."""
    unchecked: frozenset[str] = frozenset()
    """What a health check of its own cannot have, as a router: `body`, `Host` among the headers, or an instance that
    answers at its `control`: it asks at the address that serves requests alone."""
    external_router: type[RouterSettings] | None = None
    """The schema of `router`, where this software can route a tier of a chain that it is not part of:
    `ports.RoutesFromOutside`."""

    def readiness_of(self, tier: Tier) -> Readiness:
        """What instances of the tier are asked: what its `health` names, at `ready_path` where that names no path."""
        return tier.health.question(self.ready_path)

    def shared_readiness_of(self, tier: Tier) -> Readiness | None:
        """The same where instances answer it at the address that serves requests, else None."""
        return None if self.own_control else self.readiness_of(tier)


KnownHops = Mapping[str, HopTraits]
"""Every kind of tier there is, by name."""


def routing_tiers(chain: Chain, hops: KnownHops) -> dict[str, Tier]:
    """Tier -> the tier in front of it, for tiers whose members that tier balances over."""
    return {
        inner.name: outer
        for outer in chain.tiers
        if hops[outer.kind].routes_inward
        for inner in chain.behind(outer.name)
        if not inner.backend_services
    }
