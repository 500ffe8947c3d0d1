"""The declarative configuration of a Kong in front of a chain's tiers, as decK and `POST /config` take it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from changeover.hops.kong.document import KongTarget, document, joined, with_targets
from changeover.hops.kong.external_settings import ExternalKong
from changeover.hops.kong.settings import KongRoute, KongSettings
from changeover.model.hop_traits import KnownHops
from changeover.ports import Serving

if TYPE_CHECKING:
    from changeover.model.chainfile import ParsedChain


def render(parsed: ParsedChain, hops: KnownHops, serving: Serving) -> dict[str, Any]:
    """Services, routes, and upstreams with their targets: of every tier that a Kong routes, or of the last tier.

    A Kong that is a tier is configured as its first template says.
    """
    chain = parsed.chain
    inside: dict[str, KongSettings] = {}
    for outer in chain.tiers:
        first = parsed.settings[outer.name][outer.first]
        if isinstance(first, KongSettings):
            inside |= {inner.name: first for inner in chain.behind(outer.name)}
    routed = [tier for tier in chain.tiers if tier.name in inside or _external(parsed, tier.name) is not None]
    firsts = {behind[0].name for one in chain.tiers if (behind := chain.behind(one.name))}
    found = []
    for tier in routed or chain.tiers[-1:]:
        settings, name = inside.get(tier.name, KongSettings()), tier.name
        if (external := _external(parsed, tier.name)) is not None:
            route = KongRoute(buffering="buffer" if external.request_buffering else "stream")
            settings, name = KongSettings(routes=(route,)), external.upstream or name
        members = {instance: KongTarget(*known) for instance, known in serving.get(tier.name, {}).items()}
        is_first = tier.name not in inside or tier.name in firsts
        one = document(name, tier, settings, hops[tier.kind].shared_readiness_of(tier), first=is_first)
        found.append(with_targets(one, name, members))
    return joined(found)


def _external(parsed: ParsedChain, tier: str) -> ExternalKong | None:
    router = parsed.routers.get(tier)
    return router if isinstance(router, ExternalKong) else None
