"""What no chain may be: each violation names the place in the chain file and what to change."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from tests.unit.model.known_hops import HOPS

from changeover.model.chain import Chain
from changeover.model.chain_rules import RuleViolation, violations


def found(*tiers: tuple[str, str, dict[str, Any]], **chain: Any) -> list[RuleViolation]:
    """The violations of a chain of tiers (name, kind, keys)."""
    whole = [{"name": name, "kind": kind, "templates": {"v1": {}}, **keys} for name, kind, keys in tiers]
    return list(violations(Chain.model_validate({"tiers": whole, **chain}), HOPS))


def front(kind: str = "tls-proxy", **keys: Any) -> tuple[str, str, dict[str, Any]]:
    return ("front", kind, keys)


def runtime(**keys: Any) -> tuple[str, str, dict[str, Any]]:
    return ("runtime", "server", keys)


# -- order ---------------------------------------------------------------------------------------------------------


def test_a_chain_ends_with_a_tier_that_answers() -> None:
    assert found(front(), ("gateway", "balancer", {})) == [
        RuleViolation(
            ("tiers", 1, "kind"),
            "balancer sends requests to the tier behind it, and gateway is the last tier",
            "End the chain with a tier of kind server.",
        )
    ]


def test_nothing_stands_behind_a_tier_that_answers() -> None:
    assert found(runtime(), ("other", "server", {})) == [
        RuleViolation(
            ("tiers", 0, "kind"),
            "server answers requests itself, and never sends any to tier other behind it",
            "Only the last tier of a chain can be of kind server.",
        )
    ]


# -- readiness -------------------------------------------------------------------------------------------------------


def test_only_software_without_a_control_address_is_asked_at_a_path_of_its_author() -> None:
    assert found(front(), runtime(health={"path": "/healthz?full=1"})) == []
    assert found(front(health={"path": "/healthz"}), runtime()) == [
        RuleViolation(
            ("tiers", 0, "health", "path"),
            "tls-proxy answers readiness in its own way, at a path of its own",
            "Remove it. Only a tier of kind app is asked as its author says.",
        )
    ]
    assert [one.path for one in found(front(health={"tcp": True}), runtime())] == [("tiers", 0, "health", "tcp")]


@pytest.mark.parametrize(
    ("health", "key", "cannot"),
    [
        ({"body": "up"}, "body", "does not read the body of the answer to a health check"),
        ({"headers": {"host": "shop.example"}}, "headers", "sends a Host of its own in its health checks"),
    ],
)
def test_what_a_router_cannot_check_is_refused(health: dict[str, Any], key: str, cannot: str) -> None:
    (violation,) = found(front("narrow-balancer"), runtime(health=health))
    assert violation.path == ("tiers", 1, "health", key)
    assert violation.what == f"narrow-balancer, the router of runtime, {cannot}"
    assert found(front(), runtime(health=health)) == []


def test_a_connection_says_nothing_where_the_socket_is_inherited() -> None:
    inherits = {"templates": {"v1": {}, "v2": {"listen": "inherited"}}}
    assert found(front(), runtime(**inherits)) == []
    (violation,) = found(front(), runtime(health={"tcp": True}, **inherits))
    assert violation.what == "template v2 inherits a socket that accepts connections before the application serves"


def test_a_unix_socket_needs_a_router_that_reaches_it() -> None:
    at = {"templates": {"v1": {"listen": "unix"}}}
    assert found(front(), runtime(**at)) == []
    assert found(front("counting-balancer"), runtime(**at)) == []
    for tiers in ((front("balancer"), runtime(**at)), (runtime(**at, router={"kind": "kong"}),)):
        assert [one.path[-3:] for one in found(*tiers)] == [("templates", "v1", "listen")]


# -- trusted peers -------------------------------------------------------------------------------------------------


def test_trusted_peers_need_a_first_tier_that_can_tell_them_from_others() -> None:
    what = "tier front (balancer) cannot tell trusted peers from others"
    assert found(front("balancer"), runtime(), trusted_peers=["10.0.0.0/8"]) == [
        RuleViolation(("trusted_peers",), what, "Begin the chain with a tier of kind tls-proxy.")
    ]
    assert found(front(), runtime(), trusted_peers=["10.0.0.0/8", "192.0.2.1"]) == []
    with pytest.raises(ValidationError):
        found(front(), runtime(), trusted_peers=["10.0.0.1/8"])


# -- affinity ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tiers", "violation"),
    [
        (
            [front(affinity={"cookie": "route"}), runtime()],
            RuleViolation(
                ("tiers", 0, "affinity"),
                "affinity {cookie: route} of front (tls-proxy): the tier's balancer sees TLS, and no cookie",
                "Set it at a tier further in that takes HTTP, or set `affinity: client-ip` here.",
            ),
        ),
        (
            [front(), ("l4", "byte-proxy", {"affinity": {"header": "X-User"}}), runtime()],
            RuleViolation(
                ("tiers", 1, "affinity"),
                "affinity {header: X-User} of l4 (byte-proxy): the tier's balancer sees bytes, and no header",
                "Set it at a tier further in that takes HTTP.",
            ),
        ),
        (
            [front(), ("l4", "byte-proxy", {"affinity": "client-ip"}), runtime()],
            RuleViolation(
                ("tiers", 1, "affinity"),
                "affinity client-ip of l4 (byte-proxy): its connections come from tier front, not from clients",
                "Set it at tier front, or at a tier further in that takes HTTP.",
            ),
        ),
        (
            [front("byte-proxy"), runtime(affinity="client-ip")],
            RuleViolation(
                ("tiers", 1, "affinity"),
                "affinity client-ip of runtime (server): tier front (byte-proxy) does not pass the client's address on",
                "Set it at tier front, or begin the chain with a tier of kind balancer or tls-proxy.",
            ),
        ),
    ],
)
def test_an_affinity_by_what_the_balancer_cannot_see_is_refused(tiers: list[Any], violation: RuleViolation) -> None:
    assert found(*tiers) == [violation]


@pytest.mark.parametrize("by", ["cookie", "header"])
def test_a_name_that_the_balancer_does_not_take_is_refused(by: str) -> None:
    at = ("tiers", 1, "affinity")
    what = f"narrow-balancer, the router of runtime, takes no {by} of the name a.b"
    refused = found(front("narrow-balancer"), runtime(affinity={by: "a.b"}))
    assert RuleViolation(at, what, "Choose a name that matches [a-z]+.") in refused
    assert found(front("narrow-balancer"), runtime(affinity={by: "ab"})) == []
    assert found(front("balancer"), runtime(affinity={by: "a.b"})) == []
    outside = {"kind": "narrow-balancer"}
    assert found(runtime(affinity={by: "a.b"}, router=outside))[0].what == what


def test_a_header_that_a_tier_in_front_drops_is_refused() -> None:
    what = "tier front (narrow-balancer) drops the header X-User, so runtime never gets it"
    middle: tuple[str, str, dict[str, Any]] = ("middle", "balancer", {})
    assert found(front("narrow-balancer"), middle, runtime(affinity={"header": "X-User"})) == [
        RuleViolation(("tiers", 2, "affinity"), what, "Choose a name that matches [a-z]+.")
    ]
    assert found(front("narrow-balancer"), middle, runtime(affinity={"cookie": "X-User"})) == []


@pytest.mark.parametrize("affinity", ["client-ip", {"cookie": "route"}, {"header": "X-User"}])
def test_an_affinity_by_what_it_can_see_is_accepted(affinity: Any) -> None:
    assert found(front("balancer", affinity=affinity), runtime(affinity=affinity)) == []


# -- routers -------------------------------------------------------------------------------------------------------


def test_a_tier_has_one_router() -> None:
    assert found(front("balancer"), runtime(router={"kind": "any"})) == [
        RuleViolation(
            ("tiers", 1, "router"),
            "tier runtime has two routers: this one, and tier front (balancer) in front of it",
            "Remove `router`, or remove tier front.",
        )
    ]
    assert found(front(), runtime(router={"kind": "any"})) == []


# -- guards --------------------------------------------------------------------------------------------------------

SHARES = {
    "name": "shares",
    "conditions": [{"name": "errors", "source": "probe", "measure": "error_ratio", "at_most": 0.01}],
}
COUNTERS = {
    "name": "counters",
    "conditions": [{"name": "broken", "source": "router", "measure": "broken_requests", "at_most": 0}],
}


def test_a_watch_that_ends_before_a_guard_has_a_sample_is_refused() -> None:
    brief = {"update": {"guard": ["no-broken-requests"], "watch": "5s"}}
    (violation,) = found(front(), runtime(**brief))
    assert violation.path == ("tiers", 1, "update", "watch")
    assert "guard no-broken-requests needs 6s to have a sample" in violation.what
    assert found(front(), runtime(update={**brief["update"], "watch": "6s"})) == []


def watched(*guards: str) -> dict[str, Any]:
    return {"update": {"guard": guards}}


@pytest.mark.parametrize(
    ("guard", "condition", "measure"), [("latency-not-worse", "p90", "latency"), ("shares", "errors", "error_ratio")]
)
def test_a_guard_that_tells_instances_apart_by_their_answers_is_refused_where_answers_do_not_name_them(
    guard: str, condition: str, measure: str
) -> None:
    assert found(front(**watched("no-broken-requests", guard)), runtime(), guards=[SHARES]) == [
        RuleViolation(
            ("tiers", 0, "update", "guard", 1),
            f"guard {guard} ({condition}) asks the probe for the {measure} of single instances of front, and answers "
            "name only those of runtime",
            "Set it at runtime. For front, use no-broken-requests, or a guard of your own with `source: prometheus`.",
        )
    ]


def test_the_last_tier_may_have_every_guard_of_the_probe_and_the_others_those_that_need_no_names() -> None:
    every = watched("latency-not-worse", "shares")
    assert found(front(**watched("no-broken-requests")), runtime(**every), guards=[SHARES]) == []


@pytest.mark.parametrize("kind", ["tls-proxy", "byte-proxy", "balancer"])
def test_a_guard_that_asks_a_router_is_refused_where_the_tier_in_front_counts_nothing(kind: str) -> None:
    assert found(front(kind), runtime(**watched("counters")), guards=[COUNTERS]) == [
        RuleViolation(
            ("tiers", 1, "update", "guard", 0),
            "guard counters (broken) asks the router of runtime, which counts no requests by instance",
            "Use `source: probe` or `source: prometheus`, or put a tier of kind counting-balancer in front of runtime.",
        )
    ]


def test_a_guard_that_asks_a_router_is_refused_at_the_first_tier_and_accepted_behind_one_that_counts() -> None:
    (violation,) = found(front("counting-balancer", **watched("counters")), runtime(), guards=[COUNTERS])
    assert violation.path == ("tiers", 0, "update", "guard", 0)
    assert found(front("counting-balancer"), runtime(**watched("counters")), guards=[COUNTERS]) == []


# -- panic ---------------------------------------------------------------------------------------------------------


def test_a_percentage_that_the_router_of_a_tier_cannot_keep_to_is_refused() -> None:
    (violation,) = found(front(), ("gateway", "narrow-balancer", {}), runtime(health={"panic": "50%"}))
    assert violation.path == ("tiers", 2, "health", "panic")
    assert violation.what.startswith("narrow-balancer, the router of runtime, answers 503 when no instance is ready")
    assert found(front(), ("gateway", "narrow-balancer", {}), runtime(health={"panic": "0%"})) == []
    assert found(front(), ("gateway", "narrow-balancer", {}), runtime()) == []
