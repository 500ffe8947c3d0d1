"""Keys of a chain file that are given and would change nothing. Pure: yields every violation.

A key that is accepted and ignored misleads its author until the rollout that would have needed it. Refuses only what is
given: defaults are no violation, and neither is a `prometheus` that no guard asks. `update` of a tier that
names no `strategy` may have the keys of all of them, because `roll --strategy` names one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from changeover.model.chain import Chain, Tier
from changeover.model.chain_rules import RuleViolation
from changeover.model.guard import Condition
from changeover.model.hop_traits import KnownHops, routing_tiers
from changeover.model.update import Strategy

OF_STRATEGY: Mapping[str, Strategy] = MappingProxyType(
    {
        "steps": "canary",
        "baseline": "canary",
        "bake": "blue-green",
        "switch": "blue-green",
        "preview": "blue-green",
    }
)
"""Keys of `update` that one strategy alone reads."""


def ignored(chain: Chain, hops: KnownHops) -> Iterator[RuleViolation]:
    """Every key that would be ignored, tier by tier. All kinds must be known."""
    routed = routing_tiers(chain, hops)
    for position, tier in enumerate(chain.tiers):
        for found in (
            *_of_other_strategies(tier),
            *_of_idle_connections(chain, tier, routed.get(tier.name), hops),
        ):
            yield RuleViolation(("tiers", position, *found.path), found.what, found.next)
    yield from _of_guards(chain)
    if chain.page is not None and not (chain.hooks or chain.notify):
        yield RuleViolation(
            ("page",),
            "this has no effect: only hooks and notifications link the page, and the chain has none",
            "Add `notify` or `hooks`, or remove it.",
        )


def of_other_strategies(tier: Tier, strategy: Strategy) -> Iterator[str]:
    """Keys of `update` that are given, and that a rollout with that strategy does not read."""
    return (key for key, of in OF_STRATEGY.items() if key in tier.update.model_fields_set and of != strategy)


def _of_other_strategies(tier: Tier) -> Iterator[RuleViolation]:
    if "strategy" not in tier.update.model_fields_set:
        return
    for key in of_other_strategies(tier, tier.update.strategy):
        of = OF_STRATEGY[key]
        yield RuleViolation(
            ("update", key),
            f"this has no effect with `strategy: {tier.update.strategy}`: only {of} reads it",
            f"Set `strategy: {of}`, or remove it. Without `strategy`, `roll --strategy {of}` uses it.",
        )


def _of_idle_connections(chain: Chain, tier: Tier, outer: Tier | None, hops: KnownHops) -> Iterator[RuleViolation]:
    """Only some routers keep idle connections to an instance that they removed."""
    kind = outer.kind if outer is not None else str((tier.router or {}).get("kind", ""))
    pools = hops[kind].pools if kind in hops else chain.platform.kind == "gcp"
    if "idle_after" in tier.drain.model_fields_set and not pools:
        router = f"{kind}, the router of {tier.name}," if kind else f"the load balancer of {tier.name}"
        yield RuleViolation(
            ("drain", "idle_after"),
            f"this has no effect: {router} keeps no idle connection to an instance that it removed",
            "Remove it.",
        )


def _of_guards(chain: Chain) -> Iterator[RuleViolation]:
    named = {name for tier in chain.tiers for name in tier.update.guard}
    for position, guard in enumerate(chain.guards):
        if guard.name not in named:
            yield RuleViolation(
                ("guards", position, "name"),
                f"guard {guard.name} watches no tier",
                f"Add it to `update.guard` of a tier, or remove it: `guard: [{guard.name}]`.",
            )
        for number, condition in enumerate(guard.conditions):
            for key, why in _without_effect(condition).items():
                if key in condition.model_fields_set:
                    yield RuleViolation(
                        ("guards", position, "conditions", number, key),
                        f"this has no effect on condition {condition.name}: {why}",
                        "Remove it.",
                    )


def _without_effect(condition: Condition) -> dict[str, str]:
    """Keys that its measure does not read, and why."""
    found: dict[str, str] = {}
    if condition.measure != "latency":
        found["percentile"] = f"it measures {condition.measure}, and only latency has percentiles"
    if condition.measure not in ("latency", "error_ratio"):
        found["min_requests"] = f"it measures {condition.measure}, and only shares and percentiles need requests"
    if not condition.against_baseline:
        only = "it has a maximum, and only `against_baseline` compares"
        found |= {"alpha": only, "worse_by": only, "margin": only}
    return found
