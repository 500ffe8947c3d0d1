"""Every kind of tier there is. A new hop is one folder beside this file, and one line in it.

Commands that need only the traits import this module and nothing that acts on a chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from changeover.hops.app.hop import App
from changeover.hops.envoy.hop import Envoy
from changeover.hops.haproxy.hop import HaproxyHttp, HaproxyTcp
from changeover.hops.kong.hop import Kong
from changeover.hops.nginx.hop import NginxHttp, NginxStream
from changeover.hops.relay.hop import Relay
from changeover.model.hop_traits import KnownHops
from changeover.ports import Hop

_HOPS: tuple[type[Hop], ...] = (
    NginxHttp,
    NginxStream,
    HaproxyHttp,
    HaproxyTcp,
    Envoy,
    Kong,
    Relay,
    App,
)

HOPS: Mapping[str, type[Hop]] = MappingProxyType({hop.traits.kind: hop for hop in _HOPS})


def known_hops() -> KnownHops:
    """The traits of every hop, by kind."""
    return {kind: hop.traits for kind, hop in HOPS.items()}
