"""Instances and their launch contexts, with everything that does not matter filled in."""

from __future__ import annotations

from typing import Any

from changeover.hops.app.hop import App
from changeover.model.chain import Tier
from changeover.model.instance import Address, Instance
from changeover.ports import InnerTier, LaunchContext

BEHIND = Tier.model_validate(
    {
        "name": "runtime",
        "kind": "app",
        "templates": {"v1": {}},
        "health": {"interval": "250ms", "timeout": "1s", "rise": 3, "fall": 4},
    }
)

INNER = InnerTier(BEHIND, App.traits, Address("127.0.0.1", 20100), "/state/members/runtime/endpoints.json")


def tier(kind: str = "nginx", **given: Any) -> Tier:
    return Tier.model_validate({"name": "edge", "kind": kind, "templates": {"v1": {}}, **given})


def instance(name: str = "edge-v1-1", port: int = 20001, control: int = 20002) -> Instance:
    tier_name, template, _ = name.rsplit("-", 2)
    address, asked = Address("127.0.0.1", port), Address("127.0.0.1", control)
    return Instance(name, tier_name, template, address, asked, directory=f"/state/instances/{name}")


def launch_context(**given: Any) -> LaunchContext:
    """The launch context of an edge instance in front of `runtime`, changed by `given`."""
    plain: dict[str, Any] = {
        "instance": instance(),
        "tier": tier(drain={"deadline": "2m"}),
        "outermost": False,
        "shared": "/state/shared",
        "lame_duck": "/state/instances/edge-v1-1/lame-duck",
        "tls": "/state/tls",
        "behind": (INNER,),
    }
    return LaunchContext(**{**plain, **given})
