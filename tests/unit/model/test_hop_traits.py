"""What follows from the traits of the hops of a chain."""

from __future__ import annotations

from tests.unit.model.known_hops import HOPS, traits

from changeover.model.chain import Chain, Tier
from changeover.model.hop_traits import routing_tiers
from changeover.model.readiness import Readiness


def test_a_tier_is_routed_by_the_hop_in_front_only_where_that_balances_itself() -> None:
    kinds = {"edge": "tls-proxy", "gateway": "balancer", "l4": "byte-proxy", "runtime": "server"}
    tiers = [{"name": name, "kind": kind, "templates": {"v1": {}}} for name, kind in kinds.items()]
    routing = routing_tiers(Chain.model_validate({"tiers": tiers}), HOPS)
    assert {inner: outer.name for inner, outer in routing.items()} == {"l4": "gateway"}


def test_readiness_at_the_serving_address_is_that_of_a_hop_without_a_control_listener() -> None:
    tier = Tier.model_validate({"name": "runtime", "kind": "one", "templates": {"v1": {}}})
    own = Tier.model_validate({**tier.model_dump(mode="json"), "health": {"path": "/healthz"}})
    shared, other = traits("one", own_control=False), traits("other", own_control=True)
    assert (shared.shared_readiness_of(tier), other.shared_readiness_of(tier)) == (Readiness(path="/ready"), None)
    assert (shared.shared_readiness_of(own), other.shared_readiness_of(own)) == (Readiness(path="/healthz"), None)
