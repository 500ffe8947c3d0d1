"""Traits of hops that exist in tests alone: one for every difference that a rule of a chain makes."""

from __future__ import annotations

from signal import SIGTERM
from typing import Any

from changeover.model.config_model import ConfigModel
from changeover.model.hop_traits import HopTraits, KnownHops


class NoSettings(ConfigModel):
    """Templates of these hops are empty."""


def traits(kind: str, **more: Any) -> HopTraits:
    plain = {"settings": NoSettings, "takes": "http", "ready_path": "/ready", "stop_signal": SIGTERM}
    return HopTraits(kind, **{**plain, **more})


HOPS: KnownHops = {
    hop.kind: hop
    for hop in (
        traits("tls-proxy", takes="tls", names_clients=True, trusts_peers=True),
        traits("byte-proxy", takes="bytes"),
        traits("balancer", routes_inward=True, names_clients=True),
        traits("counting-balancer", routes_inward=True, counts_requests=True, reaches_sockets=True),
        traits(
            "narrow-balancer",
            routes_inward=True,
            panics=False,
            pools=True,
            affinity_names=r"[a-z]+",
            passes_headers=r"[a-z]+",
            unchecked=frozenset({"body", "Host"}),
        ),
        traits("server", passes_on=False, own_control=False),
    )
}
