from __future__ import annotations

from typing import Any

import pytest

from changeover.engine.release.pooled import ShortStep, short_steps
from changeover.hops import registry
from changeover.model.chain import Chain

TIERS = {"edge": "nginx", "l4": "nginx-stream", "gateway": "envoy", "runtime": "app"}


def found(steps: list[dict[str, Any]], lives: dict[str, float], tier: str = "gateway", weighing: str = "") -> Any:
    tiers = [
        {"name": name, "kind": kind, "templates": {"v1": {}}}
        | ({"update": {"strategy": "canary", "steps": steps}} if name == tier else {})
        for name, kind in TIERS.items()
    ]
    return short_steps(Chain.model_validate({"tiers": tiers}), registry.known_hops(), lives, [weighing or tier])


STEPS: list[dict[str, Any]] = [{"set_weight": 10}, {"pause": "30s"}, {"set_weight": 50}, {"pause": "2m"}]


def test_a_step_shorter_than_a_pooled_connection_is_named_with_the_tier_that_pools_through_an_l4_tier() -> None:
    assert found(STEPS, {"edge": 60.0}) == [ShortStep("gateway", "edge", 30.0, 60.0)]


@pytest.mark.parametrize(
    ("steps", "lives", "tier", "weighing"),
    [
        (STEPS, {"edge": 10.0}, "gateway", ""),
        (STEPS, {}, "gateway", ""),
        (STEPS, {"edge": 60.0}, "gateway", "runtime"),
        (STEPS, {"edge": 60.0}, "runtime", ""),
        ([{"set_weight": 10}, {"pause": "until-promoted"}], {"edge": 60.0}, "gateway", ""),
    ],
    ids=["long enough", "no pool", "requests are weighed", "another hop opens the connections", "no time"],
)
def test_other_steps_are_not(steps: list[dict[str, Any]], lives: dict[str, float], tier: str, weighing: str) -> None:
    assert found(steps, lives, tier, weighing) == []
