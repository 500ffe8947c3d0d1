"""The bootstrap of an Envoy in front of a chain's tiers, which watches the files of their endpoints. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from changeover.hops.envoy.bootstrap import bootstrap
from changeover.hops.envoy.external_settings import ExternalEnvoy
from changeover.hops.envoy.member_list import socket_address
from changeover.hops.envoy.settings import EnvoySettings
from changeover.model.chain import Chain, Tier
from changeover.model.hop_traits import KnownHops
from changeover.model.instance import Address, Instance
from changeover.ports import InnerTier, LaunchContext, Serving

if TYPE_CHECKING:
    from changeover.model.chainfile import ParsedChain


def render(parsed: ParsedChain, hops: KnownHops, serving: Serving) -> dict[str, Any]:
    """A listener and a cluster for every tier that an Envoy outside of the chain routes, or for the last tier.

    `serving` is not in it: the controller writes the endpoints into the files that are watched.
    """
    routed = [tier for tier in parsed.chain.tiers if isinstance(parsed.routers.get(tier.name), ExternalEnvoy)]
    found: dict[str, Any] = {}
    for tier in routed or parsed.chain.tiers[-1:]:
        router = parsed.routers.get(tier.name)
        settings = router if isinstance(router, ExternalEnvoy) else _example(tier.name)
        one = json.loads(bootstrap(EnvoySettings(), _context(parsed.chain, tier, hops, settings)))
        inward, (cluster,) = one["static_resources"]["listeners"][0], one["static_resources"]["clusters"]
        if settings.service is not None:
            cluster["eds_cluster_config"]["service_name"] = settings.service
        if not found:
            found = {
                "node": {"id": "envoy", "cluster": parsed.chain.name},
                "admin": {"address": _admin(settings.admin[0])},
                "layered_runtime": one["layered_runtime"],
                "static_resources": {"listeners": [], "clusters": []},
            }
        found["static_resources"]["listeners"].append({**inward, "name": tier.name})
        found["static_resources"]["clusters"].append(cluster)
    return found


def _admin(text: str) -> dict[str, Any]:
    if text.startswith("/"):
        return {"pipe": {"path": text, "mode": 0o600}}
    return socket_address(Address.parse(text))


def _example(tier: str) -> ExternalEnvoy:
    return ExternalEnvoy(
        kind="envoy",
        proxy="0.0.0.0:8080",
        admin=("127.0.0.1:9901",),
        endpoints=(f"/etc/envoy/endpoints/{tier}.json",),
    )


def _context(chain: Chain, tier: Tier, hops: KnownHops, settings: ExternalEnvoy) -> LaunchContext:
    """The place of an Envoy in front of that tier alone, which no instance of the chain has."""
    at = Address.parse(settings.proxy)
    known = tier.model_copy(update={"name": settings.cluster or tier.name})
    meets_clients = chain.in_front(tier.name) is None
    hidden = {path for one in chain.tiers for path in hops[one.kind].control_paths} if meets_clients else set()
    return LaunchContext(
        instance=Instance("envoy", "envoy", "", at, at),
        tier=tier.model_copy(update={"size": len(settings.admin)}),  # as many Envoys
        outermost=meets_clients,
        shared="",
        lame_duck="",
        tls="",
        behind=(InnerTier(known, hops[tier.kind], None, settings.endpoints[0]),),
        hidden_paths=tuple(sorted(hidden)),
        trusted_peers=chain.trusted_peers if meets_clients else None,
    )
