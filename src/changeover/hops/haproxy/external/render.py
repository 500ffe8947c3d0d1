"""The backends of an HAProxy in front of a chain's tiers, as text for its configuration. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from changeover.haproxy.checks import check_lines, check_words
from changeover.hops.haproxy.external.settings import ExternalHaproxy
from changeover.model.chain import Chain, Tier
from changeover.model.hop_traits import HopTraits, KnownHops
from changeover.model.instance import Address
from changeover.ports import Serving

if TYPE_CHECKING:
    from changeover.model.chainfile import ParsedChain


def render(parsed: ParsedChain, hops: KnownHops, serving: Serving) -> str:
    """A backend for every tier that an HAProxy outside of the chain routes, or for the last tier where none is."""
    chain = parsed.chain
    routed = [tier for tier in chain.tiers if isinstance(parsed.routers.get(tier.name), ExternalHaproxy)]
    found = []
    for tier in routed or chain.tiers[-1:]:
        router = parsed.routers.get(tier.name)
        settings = router if isinstance(router, ExternalHaproxy) else None
        lines = _backend(chain, tier, hops[tier.kind], settings, serving.get(tier.name, {}))
        found.append(f"backend {(settings and settings.backend) or tier.name}\n" + "".join(f"    {x}\n" for x in lines))
    return _GLOBAL + "\n" + "\n".join(found)


_GLOBAL = """\
# `global` needs a runtime API at level admin, which a reload hands on:
#     stats socket /run/haproxy/admin.sock mode 600 level admin expose-fd listeners
# With state files, `global` needs `server-state-base`, too.
"""


def _backend(
    chain: Chain,
    tier: Tier,
    traits: HopTraits,
    settings: ExternalHaproxy | None,
    members: Mapping[str, tuple[Address, int]],
) -> Iterator[str]:
    sees_http = traits.takes == "http" or (traits.takes == "tls" and chain.in_front(tier.name) is not None)
    yield f"mode {'http' if sees_http else 'tcp'}"
    yield from _balance(tier)
    yield "option redispatch 1"
    yield "retries 3"
    yield from check_lines(tier, traits.readiness_of(tier))
    yield f"timeout check {tier.health.timeout * 1000:.0f}ms"
    check = f"check {check_words(tier.health, 1 if settings is None else len(settings.nodes))}"
    if settings is not None and settings.slots is not None:
        if settings.state_files:
            yield "load-server-state-from-file local"
            yield f"server-state-file-name {settings.state_files[0].rpartition('/')[2]}"
        yield "# one slot for each instance that may exist: size and max_surge"
        yield f"server-template {settings.slots} 1-{tier.size + tier.surge} 127.0.0.1:1 {check} disabled"
        return
    yield "# the instances that serve now, for a reload: the controller adds and deletes others at run time"
    options = f" {settings.server}" if settings is not None and settings.server else ""
    for name, (address, weight) in sorted(members.items()):
        yield f"server {name} {address} {check} weight {weight}{options}"


def _balance(tier: Tier) -> Iterator[str]:
    """How it picks a server: by what `affinity` names. The hash is consistent, so that members can come and go."""
    match tier.affinity.by:
        case "none":
            yield "balance roundrobin"
        case "client-ip":
            yield "balance source"
            yield "hash-type consistent"
        case "header":
            yield f"balance hdr({tier.affinity.name})"
            yield "hash-type consistent"
        case "cookie":
            yield "balance roundrobin"
            yield f"dynamic-cookie-key {tier.name}"
            yield f"cookie {tier.affinity.name} insert indirect nocache httponly dynamic"
