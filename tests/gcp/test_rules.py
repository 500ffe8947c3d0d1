"""The rules of the API that no schema holds: what each refuses, and what it lets pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.gcp.fake.resources import rules
from tests.gcp.fake.wire.errors import ApiError

POLICY = {"maxSurge": {"fixed": 1}, "maxUnavailable": {"fixed": 0}}
CHECK = {"name": "live", "type": "TCP"}
GROUP = "projects/p/zones/z-b/instanceGroupManagers/web"
WEIGHTED = {"weightedBackendServices": [{"backendService": "a", "weight": 1001}]}

GOOD: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (rules.check_name, ("name", "web-1")),
    (rules.check_base_name, ("w" * 58,)),
    (rules.check_versions, ([{"name": "a", "targetSize": {"fixed": 1}}, {"name": "b"}],)),
    (rules.check_initial_delay, ([{"initialDelaySec": 3600}],)),
    (rules.check_update_policy, (POLICY, 2, 1)),
    (rules.check_update_policy, ({"maxSurge": {"percent": 10}}, 10, 1)),
    (rules.check_update_policy, ({"maxSurge": {"fixed": 3}, "maxUnavailable": {"fixed": 0}}, 3, 3)),
    (rules.check_urls_or_names, (["web-1", "web-2"],)),
    (rules.check_place, ("projects/p/zones/z-b/instances/web-1", GROUP)),
    (rules.check_drain, ({"drainingTimeoutSec": 3600},)),
    (rules.check_request_id, ("b3a0cfb6-6b1c-4d0c-9f5e-3a7f3c1d2e4f",)),
]

BAD: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
    (rules.check_name, ("name", "Web"), "Must be a match of regex"),
    (rules.check_name, ("name", "w" * 64), "Must be a match of regex"),
    (rules.check_base_name, ("w" * 59,), "58 characters"),
    (rules.check_size, (-1,), "between 0 and 2000"),
    (rules.check_versions, ([{"name": "a"}, {"name": "b"}],), "Exactly one version"),
    (rules.check_versions, ([{"name": "a", "targetSize": {"fixed": 1}}],), "Exactly one version"),
    (rules.check_versions, ([{"name": "a", "targetSize": {"fixed": 1}}, {"name": "a"}],), "at most once"),
    (rules.check_initial_delay, ([{"initialDelaySec": 3601}],), "between 0 and 3600"),
    (rules.check_initial_delay, ([{}, {}],), "Only one policy"),
    (rules.check_update_policy, ({"maxSurge": {"fixed": 0}, "maxUnavailable": {"fixed": 0}}, 2, 1), "At least one"),
    (rules.check_update_policy, ({"maxSurge": {"percent": 10}}, 9, 1), "10 or more instances"),
    (rules.check_update_policy, ({"maxSurge": {"percent": 10, "fixed": 1}}, 10, 1), "Only one of"),
    (rules.check_update_policy, (POLICY, 3, 3), "number of zones"),
    (rules.check_update_policy, ({**POLICY, "replacementMethod": "RECREATE"}, 2, 1), "must be 0 for RECREATE"),
    (rules.check_count, ([],), "At least one"),
    (rules.check_count, (["x"] * 1001,), "At most 1000"),
    (rules.check_urls_or_names, (["web-1", "zones/z-b/instances/web-2"],), "both URLs and names"),
    (rules.check_member, ("web-1", False, False), "not a member"),
    (rules.check_member, ("web-1", True, True), "already being deleted"),
    (rules.check_place, ("projects/p/zones/z-c/instances/web-1", GROUP), "not in z-b"),
    (rules.check_place, ("projects/p/instances/web-1", GROUP), "Malformed"),
    (rules.check_apply, ({"allInstances": True, "instances": ["x"]},), "Must be empty"),
    (rules.check_drain, ({"drainingTimeoutSec": 3601},), "between 0 and 3600"),
    (rules.check_check, ({**CHECK, "timeoutSec": 6},), "greater than checkIntervalSec"),
    (rules.check_weights, ({"defaultRouteAction": WEIGHTED},), "between 0 and 1000"),
    (rules.check_weights, ({"pathMatchers": [{"pathRules": [{"routeAction": WEIGHTED}]}]},), "between 0 and 1000"),
    (rules.check_backends, ([{"group": "zones/z-b/instanceGroups/web"}],), "fully-qualified"),
    (rules.check_request_id, ("00000000-0000-0000-0000-000000000000",), "valid UUID"),
    (rules.check_request_id, ("again",), "valid UUID"),
]


@pytest.mark.parametrize(("rule", "given"), GOOD, ids=lambda each: getattr(each, "__name__", ""))
def test_a_rule_lets_pass_what_it_allows(rule: Callable[..., Any], given: tuple[Any, ...]) -> None:
    rule(*given)


@pytest.mark.parametrize(("rule", "given", "why"), BAD, ids=lambda each: getattr(each, "__name__", ""))
def test_a_rule_refuses_with_its_reason(rule: Callable[..., Any], given: tuple[Any, ...], why: str) -> None:
    with pytest.raises(ApiError, match=why) as refused:
        rule(*given)
    assert refused.value.code == 400


def test_every_rule_cites_its_text_and_has_a_test() -> None:
    every = {name: rule for name, rule in vars(rules).items() if name.startswith("check_")}
    cited = {name for name, rule in every.items() if '"' in (rule.__doc__ or "") or "Message: " in (rule.__doc__ or "")}
    joining = {"check_group", "check_update_policy", "check_plain"}  # they call the others
    elsewhere = {"check_unused"}  # needs resources: test_resources
    assert every.keys() - cited == joining
    assert every.keys() - {rule.__name__ for rule, _, _ in BAD} == (joining | elsewhere | BY_OTHERS) - {
        "check_update_policy"
    }


BY_OTHERS = {"check_percent", "check_zones", "check_some_move", "check_recreate"}
"""Through check_update_policy."""
