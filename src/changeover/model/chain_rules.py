"""Rules between the tiers of a chain, checked against the traits of their hops. Pure: yields every violation.

Rules within one tier are validators of `chain`; what a template may contain is its hop's schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from changeover.kit.human import human_seconds
from changeover.model.chain import Chain, Tier
from changeover.model.guard import Guard, resolve
from changeover.model.health import QUESTION
from changeover.model.hop_traits import KnownHops, routing_tiers


@dataclass(frozen=True)
class RuleViolation:
    """`path` leads to the value in the chain file; `next` says what to change."""

    path: tuple[str | int, ...]
    what: str
    next: str


def violations(chain: Chain, hops: KnownHops) -> Iterator[RuleViolation]:
    """Every violation, tier by tier. All kinds must be known."""
    routed = routing_tiers(chain, hops)
    if chain.trusted_peers and not hops[(first := chain.tiers[0]).kind].trusts_peers:
        kinds = _either(kind for kind, traits in hops.items() if traits.trusts_peers)
        what = f"tier {first.name} ({first.kind}) cannot tell trusted peers from others"
        yield RuleViolation(("trusted_peers",), what, f"Begin the chain with a tier of kind {kinds}.")
    for position, tier in enumerate(chain.tiers):
        outer = chain.in_front(tier.name)
        at = ("tiers", position)
        for violation in (
            *_order(chain, tier, hops),
            *_affinity(chain, tier, outer, hops),
            *_affinity_name(chain, tier, routed.get(tier.name), hops),
            *(_readiness(tier, hops) if chain.platform.kind == "local" else ()),
            *_inherited(tier),
            *_unix_socket(tier, routed.get(tier.name), hops),
            *_checks(tier, routed.get(tier.name), hops),
            *_one_router(tier, routed.get(tier.name)),
            *_panic(tier, routed.get(tier.name), hops),
            *_guards(chain, tier, outer, hops),
        ):
            yield RuleViolation((*at, *violation.path), violation.what, violation.next)


def _order(chain: Chain, tier: Tier, hops: KnownHops) -> Iterator[RuleViolation]:
    """Every tier but the last passes requests on; the last one answers them."""
    behind = chain.behind(tier.name)
    ends = _either(kind for kind, traits in hops.items() if not traits.passes_on)
    in_image = chain.platform.kind == "gcp"  # what its software does with a request is not known here
    ends_itself = in_image or all(hops[tier.kind].ends_with in template for template in tier.templates.values())
    if hops[tier.kind].passes_on and not ends_itself and not behind:
        what = f"{tier.kind} sends requests to the tier behind it, and {tier.name} is the last tier"
        yield RuleViolation(("kind",), what, f"End the chain with a tier of kind {ends}.")
    if not hops[tier.kind].passes_on and behind:
        what = f"{tier.kind} answers requests itself, and never sends any to tier {behind[0].name} behind it"
        yield RuleViolation(("kind",), what, f"Only the last tier of a chain can be of kind {ends}.")
    if len(behind) > 1 and not hops[tier.kind].branches:
        kinds = _either(kind for kind, traits in hops.items() if traits.branches)
        what = f"{tier.kind} has no routes, and {tier.name} has {len(behind)} tiers behind it"
        yield RuleViolation(("to",), what, f"Name one tier, or make {tier.name} a tier of kind {kinds}.")


def _readiness(tier: Tier, hops: KnownHops) -> Iterator[RuleViolation]:
    """Software with a control address of its own answers readiness there, at a path of its own."""
    given = [key for key in QUESTION if key in tier.health.model_fields_set]
    if given and hops[tier.kind].own_control:
        what = f"{tier.kind} answers readiness in its own way, at a path of its own"
        yield RuleViolation(
            ("health", given[0]), what, "Remove it. Only a tier of kind app is asked as its author says."
        )


def _inherited(tier: Tier) -> Iterator[RuleViolation]:
    """The kernel accepts connections to an inherited socket before the application runs."""
    names = [name for name, template in tier.templates.items() if template.get("listen") == "inherited"]
    if tier.health.tcp and names:
        yield RuleViolation(
            ("health", "tcp"),
            f"template {names[0]} inherits a socket that accepts connections before the application serves",
            "Name a `path`, or have the template open its own port.",
        )


def _unix_socket(tier: Tier, outer: Tier | None, hops: KnownHops) -> Iterator[RuleViolation]:
    """The load balancer of the platform reaches instances at Unix sockets, and so do some hops."""
    kind = outer.kind if outer is not None else (tier.router or {}).get("kind")
    if outer is not None and hops[outer.kind].reaches_sockets:
        return
    for name, template in tier.templates.items():
        if template.get("listen") == "unix" and kind is not None:
            yield RuleViolation(
                ("templates", name, "listen"),
                f"{kind}, the router of {tier.name}, reaches instances over TCP alone",
                "Use `port` or `inherited`, or put a tier in front that does not balance itself, such as nginx.",
            )


def _checks(tier: Tier, outer: Tier | None, hops: KnownHops) -> Iterator[RuleViolation]:
    """Some routers cannot ask all that the controller can."""
    kind = outer.kind if outer is not None else str((tier.router or {}).get("kind"))
    unchecked = hops[kind].unchecked if kind in hops else frozenset()
    if "rise" in tier.health.model_fields_set and "control" in unchecked and hops[tier.kind].own_control:
        what = f"{kind}, the router of {tier.name}, asks no instance whose readiness is at a control address"
        yield RuleViolation(("health", "rise"), what, "Remove it: an instance gets traffic after `update.min_ready`.")
    if tier.health.body and "body" in unchecked:
        what = f"{kind}, the router of {tier.name}, does not read the body of the answer to a health check"
        yield RuleViolation(
            ("health", "body"), what, "Remove it, and have the answer show by its status what it means."
        )
    if any(name.lower() == "host" for name in tier.health.headers) and "Host" in unchecked:
        what = f"{kind}, the router of {tier.name}, sends a Host of its own in its health checks"
        yield RuleViolation(("health", "headers"), what, "Remove Host, or use another header.")


def _affinity(chain: Chain, tier: Tier, outer: Tier | None, hops: KnownHops) -> Iterator[RuleViolation]:
    """A balancer can only use what it sees."""
    by, takes, first = tier.affinity.by, hops[tier.kind].takes, chain.tiers[0]
    at, says = ("affinity",), f"affinity {tier.affinity} of {tier.name} ({tier.kind})"
    if by in ("cookie", "header") and (takes == "bytes" or (takes == "tls" and outer is None)):
        sees = "bytes" if takes == "bytes" else "TLS"
        instead = ", or set `affinity: client-ip` here" if outer is None else ""
        yield RuleViolation(
            at,
            f"{says}: the tier's balancer sees {sees}, and no {by}",
            f"Set it at a tier further in that takes HTTP{instead}.",
        )
    if by == "client-ip" and outer is not None and takes == "bytes":
        yield RuleViolation(
            at,
            f"{says}: its connections come from tier {outer.name}, not from clients",
            f"Set it at tier {first.name}, or at a tier further in that takes HTTP.",
        )
    if by == "client-ip" and outer is not None and not hops[first.kind].names_clients:
        kinds = _either(kind for kind, traits in hops.items() if traits.names_clients)
        yield RuleViolation(
            at,
            f"{says}: tier {first.name} ({first.kind}) does not pass the client's address on",
            f"Set it at tier {first.name}, or begin the chain with a tier of kind {kinds}.",
        )


def _affinity_name(chain: Chain, tier: Tier, outer: Tier | None, hops: KnownHops) -> Iterator[RuleViolation]:
    """Some software takes fewer names of cookies and headers than others, or drops headers with such names."""
    for front in chain.path(tier.name) if tier.affinity.by == "header" else ():
        if not re.fullmatch(passes := hops[front.kind].passes_headers, tier.affinity.name):
            yield RuleViolation(
                ("affinity",),
                f"tier {front.name} ({front.kind}) drops the header {tier.affinity.name}, so {tier.name} never gets it",
                f"Choose a name that matches {passes}.",
            )
    kind = outer.kind if outer is not None else str((tier.router or {}).get("kind"))
    if tier.affinity.name and kind in hops and not re.fullmatch(hops[kind].affinity_names, tier.affinity.name):
        yield RuleViolation(
            ("affinity",),
            f"{kind}, the router of {tier.name}, takes no {tier.affinity.by} of the name {tier.affinity.name}",
            f"Choose a name that matches {hops[kind].affinity_names}.",
        )


def _one_router(tier: Tier, outer: Tier | None) -> Iterator[RuleViolation]:
    """A tier has one router: the hop in front where that balances by itself, or an external one."""
    if tier.router is not None and outer is not None:
        yield RuleViolation(
            ("router",),
            f"tier {tier.name} has two routers: this one, and tier {outer.name} ({outer.kind}) in front of it",
            f"Remove `router`, or remove tier {outer.name}.",
        )


def _panic(tier: Tier, outer: Tier | None, hops: KnownHops) -> Iterator[RuleViolation]:
    """Only some routers send requests to instances that are not ready."""
    kind = outer.kind if outer is not None else str((tier.router or {}).get("kind"))
    if "panic" in tier.health.model_fields_set and tier.health.panic and kind in hops and not hops[kind].panics:
        yield RuleViolation(
            ("health", "panic"),
            f"{kind}, the router of {tier.name}, answers 503 when no instance is ready, whatever this percentage is",
            "Remove it, or set it to 0%.",
        )


def _guards(chain: Chain, tier: Tier, outer: Tier | None, hops: KnownHops) -> Iterator[RuleViolation]:
    """Guards whose source cannot answer for this tier: they would only ever pause it."""
    for position, guard in enumerate(resolve(tier.update.guard, chain.guards)):
        at = ("update", "guard", position)
        yield from _unheard(tier, guard)
        yield from _unnamed_instances(chain, tier, guard, at)
        yield from _uncounted_requests(tier, outer, guard, at, hops)


def _unheard(tier: Tier, guard: Guard) -> Iterator[RuleViolation]:
    """A rollout that ends before a guard has a sample has passed without one."""
    watch = tier.update.watch
    if watch is not None and tier.update.strategy == "rolling" and watch < guard.known_after:
        yield RuleViolation(
            ("update", "watch"),
            f"guard {guard.name} needs {human_seconds(guard.known_after)} to have a sample, or to find that it gets "
            f"none, and the rollout is complete {human_seconds(watch)} after its last instance began to serve",
            f"Remove `watch`, or set it to {human_seconds(guard.known_after)} or more.",
        )


def _unnamed_instances(chain: Chain, tier: Tier, guard: Guard, at: tuple[str | int, ...]) -> Iterator[RuleViolation]:
    """The probe tells instances apart by the name in their answers, and only the last tier answers."""
    ends = [one.name for one in chain.tiers if not chain.behind(one.name)]
    for condition in guard.conditions:
        if condition.asks_for_names and tier.name not in ends:
            yield RuleViolation(
                at,
                f"guard {guard.name} ({condition.name}) asks the probe for the {condition.measure} of single instances "
                f"of {tier.name}, and answers name only those of {' and '.join(ends)}",
                f"Set it at {' or '.join(ends)}. For {tier.name}, use no-broken-requests, or a guard of your own with "
                "`source: prometheus`.",
            )


def _uncounted_requests(
    tier: Tier, outer: Tier | None, guard: Guard, at: tuple[str | int, ...], hops: KnownHops
) -> Iterator[RuleViolation]:
    """A router's counters are those of the hop in front, which must be one that counts."""
    if outer is not None and hops[outer.kind].counts_requests:
        return
    for condition in guard.conditions:
        if condition.source == "router":
            kinds = _either(kind for kind, traits in hops.items() if traits.counts_requests)
            yield RuleViolation(
                at,
                f"guard {guard.name} ({condition.name}) asks the router of {tier.name}, which counts no requests by "
                "instance",
                f"Use `source: probe` or `source: prometheus`, or put a tier of kind {kinds} in front of {tier.name}.",
            )


def _either(kinds: Iterator[str]) -> str:
    return " or ".join(sorted(kinds))
