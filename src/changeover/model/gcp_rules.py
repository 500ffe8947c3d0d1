"""What a chain on Google Cloud cannot have, and what only such a chain can have. Pure: yields every violation.

Also the defaults that differ there, and the traits of the hops there: an image holds the configuration of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from changeover.model.chain import Chain, Tier
from changeover.model.chain_rules import RuleViolation
from changeover.model.health import QUESTION
from changeover.model.hop_traits import HopTraits, KnownHops, routing_tiers
from changeover.model.platform import GCP_PROGRESS_DEADLINE, AgentSettings, InstanceTemplate

LONGEST_NAME = 63
"""Characters of a VM's name."""
_SERIAL = 6
"""Of them for the dash and the number at the end of a name."""

_OF_CHAIN = {
    "trusted_peers": "Set it in the configuration of the first tier, in its image.",
    "keep": "Logs of VMs are in Cloud Logging, or wherever their image sends them.",
}
_BEHIND_SERVICES = {
    "interval": "Set `checkIntervalSec` of the health check.",
    "rise": "Set `healthyThreshold` of the health check.",
    "panic": "Google's balancers have rules of their own.",
}
_OF_HEALTH = dict.fromkeys(QUESTION, "Set `health` in the agent.yaml of its VMs: the agent asks the software.")
_OF_UPDATE = {
    "preview": "Create a forwarding rule of its own for the new group.",
}
_GCP_KEYS = ("group", "second_group", "traffic", "backend_services", "agent")


def on_platform(chain: Chain, hops: KnownHops) -> KnownHops:
    """The traits of the hops on the platform of that chain."""
    return hops if chain.platform.kind == "local" else {kind: _on_gcp(traits) for kind, traits in hops.items()}


def _on_gcp(traits: HopTraits) -> HopTraits:
    return replace(
        traits,
        settings=InstanceTemplate,
        own_control=True,
        counts_requests=False,
        ends_with=None,
        routes_inward=traits.routes_by_agents,
    )


def with_defaults(chain: Chain) -> Chain:
    """The chain with what is otherwise by default on its platform."""
    if chain.platform.kind == "local":
        return chain
    return chain.model_copy(update={"tiers": tuple(map(_with_defaults, chain.tiers))})


def _with_defaults(tier: Tier) -> Tier:
    found: dict[str, object] = {}
    if tier.agent is None:
        found["agent"] = AgentSettings()
    if "progress_deadline" not in tier.update.model_fields_set:
        found["update"] = tier.update.model_copy(update={"progress_deadline": GCP_PROGRESS_DEADLINE})
    return tier.model_copy(update=found)


def gcp_violations(chain: Chain, hops: KnownHops) -> Iterator[RuleViolation]:
    """Every violation, tier by tier."""
    gcp = chain.platform.kind == "gcp"
    for key, instead in _OF_CHAIN.items() if gcp else ():
        if key in chain.model_fields_set:
            yield RuleViolation((key,), "this has no effect on Google Cloud", instead)
    for position, tier in enumerate(chain.tiers):
        at = ("tiers", position)
        for found in _on_google(chain, tier, hops) if gcp else _elsewhere(tier):
            yield RuleViolation((*at, *found.path), found.what, found.next)
    seen: set[str] = set()
    for position, tier in enumerate(chain.tiers):
        for key, group in (("group", tier.group), ("second_group", tier.second_group)):
            if group in seen:
                yield RuleViolation(("tiers", position, key), f"the group {group} is named twice", "Name each once.")
            seen |= {group} if group is not None else set()


def _elsewhere(tier: Tier) -> Iterator[RuleViolation]:
    instead = "Add `platform: {kind: gcp, project: …, region: …}`, or remove it."
    for key in _GCP_KEYS:
        if getattr(tier, key) != type(tier).model_fields[key].default:
            yield RuleViolation((key,), "this means something on Google Cloud alone", instead)
    if tier.update.count_deleting:
        yield RuleViolation(("update", "count_deleting"), "this means something on Google Cloud alone", instead)


def _on_google(chain: Chain, tier: Tier, hops: KnownHops) -> Iterator[RuleViolation]:
    if tier.group is None:
        yield RuleViolation(("group",), "this key is missing", "Name the managed instance group of the tier.")
    front = chain.in_front(tier.name)
    if not tier.backend_services and tier.router is None and tier.name not in routing_tiers(chain, hops):
        behind = f": {front.name} ({front.kind}) in front of it does not get its members" if front is not None else ""
        yield RuleViolation(
            ("backend_services",),
            f"nothing says what sends tier {tier.name} its requests{behind}",
            "Name its backend services, or the `router` whose upstream holds its members.",
        )
    if tier.backend_services and tier.router is not None:
        yield RuleViolation(("router",), "the tier has backend services and a router", "Remove one of them.")
    if tier.router is None:
        in_image = f"Set it in the configuration of {front.name}, in its image." if front is not None else ""
        services = bool(tier.backend_services)
        if tier.affinity.by != "none":
            instead = "Set `sessionAffinity` of the backend service." if services else in_image
            yield RuleViolation(("affinity",), "this has no effect on Google Cloud", instead)
        others = _BEHIND_SERVICES if services else dict.fromkeys(_BEHIND_SERVICES, in_image)
        yield from _without_effect(tier.health.model_fields_set, others, "health")
    yield from _without_effect(tier.health.model_fields_set, _OF_HEALTH, "health")
    yield from _without_effect(tier.update.model_fields_set, _OF_UPDATE, "update")
    if tier.drain.long_lived.policy == "ask" and tier.backend_services:
        yield RuleViolation(
            ("drain", "long_lived", "policy"),
            "a health check removes the instance, and it fails because of the lame duck, which asks at the same time",
            "Use `wait` or `cut`: the instance is asked before its removal.",
        )
    if tier.update.strategy == "blue-green" and tier.backend_services and tier.second_group is None:
        yield RuleViolation(
            ("update", "strategy"),
            "a backend service sends requests to each VM of a group as soon as it is healthy: it cannot hold back the "
            "new ones of a blue-green rollout",
            "Name a `second_group` for them, or use `rolling` or `canary`.",
        )
    if tier.second_group is not None and not tier.backend_services:
        yield RuleViolation(
            ("second_group",),
            "this has no effect without backend services: the router of the tier holds back new instances",
            "Remove it; `strategy: blue-green` needs one group here.",
        )
    yield from _of_traffic(tier, hops)
    if tier.update.abandoned != "wait":
        yield RuleViolation(
            ("update", "abandoned"),
            "no keeper runs for a chain on Google Cloud, where the group replaces what dies",
            "Remove it, and run `changeover resume` or `changeover abort` after a controller ended.",
        )
    for template in tier.templates:
        stem = f"{tier.name}-{template}"
        if len(stem) + _SERIAL > LONGEST_NAME:
            what = f"VMs would be named {stem}-1 and so on, and a name has {LONGEST_NAME} characters at most"
            yield RuleViolation(("templates", template), what, "Shorten the name of the tier or of the template.")


def _of_traffic(tier: Tier, hops: KnownHops) -> Iterator[RuleViolation]:
    if tier.traffic is None:
        return
    if tier.second_group is None:
        yield RuleViolation(
            ("traffic",), "weights share requests between two groups, and the tier has one", "Name a `second_group`."
        )
    if len(tier.backend_services) != 1:
        what = f"the tier has {len(tier.backend_services)} backend services for `group`, and a weight is of one"
        yield RuleViolation(("backend_services",), what, "Name the one of `group`.")
    if tier.traffic.second_service in tier.backend_services:
        yield RuleViolation(
            ("traffic", "second_service"), "this is the service of `group` too", "Each group has a service of its own."
        )
    if hops[tier.kind].takes == "bytes":
        yield RuleViolation(
            ("traffic",),
            f"{tier.kind} takes connections from a proxy or passthrough load balancer, which has no URL map",
            "Remove it: a canary is a share of the instances here.",
        )


def _without_effect(given: set[str], meaningless: Mapping[str, str], part: str) -> Iterator[RuleViolation]:
    for key, instead in meaningless.items():
        if key in given:
            yield RuleViolation((part, key), "this has no effect on Google Cloud", instead)
