"""What a chain is doing at the moment, as `status` and `up` print it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from changeover import wiring
from changeover.engine.journal.journal import Journal
from changeover.engine.keeper.health import InstanceHealth, findings_of, inspect, state_of
from changeover.engine.long_lived import Ages, LongLived, ages_of, long_lived
from changeover.engine.runtime import rollout_settings
from changeover.engine.witnesses import Witnesses
from changeover.kit.clock import Clock
from changeover.model.chain import Tier
from changeover.model.instance import InFlight
from changeover.model.revision import template_of
from changeover.ports import CanWeigh, PoolsConnections, Unknown
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.strategies import canary
from changeover.rollout.tier import context
from changeover.rollout.tier.actions import status_of
from changeover.rollout.tier.settings import RolloutSettings


async def survey(found: wiring.Wired, journal: Journal) -> dict[str, Any]:
    """The object of `status --json`."""
    up = journal.is_up()
    open_now = found.platform.is_open()
    now = Clock(not_before=journal.latest()).now()  # the controllers' clock, which never goes back
    seen = await inspect(found.runtime, journal) if up else {tier.name: [] for tier in found.chain.tiers}
    findings = findings_of(found.chain, journal, seen, balancer_runs=open_now) if up else ["The chain is down."]
    local = found.local
    tiers, instances = [], []
    for tier in found.chain.tiers:
        state = journal.tier(tier.name)
        sessions = await _sessions(found, tier.name, [one.member for one in seen[tier.name]])
        ages = await ages_of(found.runtime.routers[tier.name]) if seen[tier.name] else None
        instances += await asyncio.gather(
            *(_instance(found, tier, one, now, sessions, ages) for one in seen[tier.name])
        )
        serving = sum(one.serves for one in seen[tier.name])
        degraded = context.degraded(_settings(found, tier), state, serving, now) if up and state else ""
        if degraded and serving == tier.size:
            findings.append(f"Tier {tier.name}: {degraded}.")
        tiers.append(
            {
                "name": tier.name,
                "kind": tier.kind,
                "size": tier.size,
                "template": template_of(state.goal) if state else None,
                "status": status_of(state.state).value if state else None,
                "serving": serving,
                "restarts": journal.failures(tier.name, state.goal) if up and state else 0,
                "degraded": degraded or None,
                "canary_share": _canary_share(found, tier, journal) if up else None,
                "preview": str(shown) if up and local and (shown := local.preview_entry(tier.name)) else None,
            }
        )
    holder = journal.holder()
    active = {"pid": holder.pid, "command": holder.purpose} if holder and holder.is_alive() else None
    return {
        "chain": found.chain.name,
        "up": up,
        "state": state_of(found.chain, seen, findings, up=up).value,
        "findings": findings,
        "edge_url": edge_url(found) if up and found.platform.entry(found.chain.tiers[0].name).port else None,
        "ca_file": str(found.ca_file) if up and found.ca_file else None,
        "active_command": active,
        "load_balancer_running": open_now,
        "keeper_pid": known.pid if (known := journal.keeper()) is not None and known.is_alive() else None,
        "tiers": tiers,
        "instances": instances,
    }


def _settings(found: wiring.Wired, tier: Tier) -> RolloutSettings:
    return rollout_settings(tier, weighed=isinstance(found.runtime.routers[tier.name], CanWeigh))


def _canary_share(found: wiring.Wired, tier: Tier, journal: Journal) -> dict[str, Any] | None:
    """The share of the new template at a canary step: the target, and what the routers have. None otherwise."""
    router = found.runtime.routers[tier.name]
    state, settings = journal.tier(tier.name), _settings(found, tier)
    if state is None or context.canary_step(settings, state) is None:
        return None
    actual = canary.actual_share(journal.fleet(tier.name), state.goal)
    return {
        "unit": router.weighs if isinstance(router, CanWeigh) and settings.canary_beside_all else "instances",
        "target_percent": context.share(settings, state),
        "actual_percent": None if actual is None else round(actual, 1),
    }


def edge_url(found: wiring.Wired) -> str:
    """The URL for clients; of port 0 where the platform does not know it."""
    outermost = found.chain.tiers[0]
    return f"{'https' if found.takes_tls() else 'http'}://{found.platform.entry(outermost.name)}"


_LEAVES = (Phase.LEAVING, Phase.DRAINING)


async def _sessions(found: wiring.Wired, tier: str, members: Sequence[Member]) -> Mapping[str, int | None]:
    """What the routers count of each instance that leaves; empty where they do not answer."""
    names = frozenset(member.name for member in members if member.phase in _LEAVES)
    if names:
        with contextlib.suppress(Unknown):
            seen = await found.runtime.routers[tier].membership(names)
            return {name: seen[name].sessions for name in names}
    return {}


async def _instance(
    found: wiring.Wired,
    tier: Tier,
    health: InstanceHealth,
    now: float,
    sessions: Mapping[str, int | None],
    ages: Ages | None,
) -> dict[str, Any]:
    member, instance = health.member, health.instance
    seen: Witnesses | None = None
    if instance is not None and health.exists:
        kernel, own = await found.platform.connections(instance), None
        with contextlib.suppress(Unknown):
            own = await found.runtime.hops[tier.name].in_flight(instance)
        seen = Witnesses(
            own,
            kernel,
            sessions.get(member.name),
            checked_here=instance.address == instance.control,
            pools=isinstance(found.runtime.routers[tier.name], PoolsConnections),
            idle_after=tier.drain.idle_after,
        )
    left = None if member.deadline is None else max(0.0, member.deadline - now)
    return {
        "name": member.name,
        "tier": tier.name,
        "template": instance.template if instance else template_of(member.template),
        "phase": "dead" if health.dead else member.phase.value,
        "serving": health.serves,
        "reason": health.reason,
        "pid": instance.pid if instance else None,
        "address": (instance.socket or str(instance.address)) if instance else None,
        "control": str(instance.control) if instance else None,
        "in_flight": in_flight(_known(seen, member)),
        "in_flight_counts": None if seen is None else _counts(seen),
        "long_lived": _long_lived(long_lived(tier, ages, member.name)) if health.exists else None,
        "drain_seconds_left": left if member.phase is Phase.DRAINING else None,
    }


def _long_lived(seen: LongLived | None) -> dict[str, Any] | None:
    return None if seen is None else {"connections": seen.connections, "oldest_seconds": seen.oldest}


def _known(seen: Witnesses | None, member: Member) -> InFlight | None:
    if seen is None or not seen.known:
        return None
    # Health checks of its routers are among the connections of one that serves.
    return seen.own if seen.own is not None and member.phase not in _LEAVES else seen.highest


def _counts(seen: Witnesses) -> dict[str, Any]:
    others = seen.kernel.others if seen.kernel else {}
    return {
        "instance": in_flight(seen.own),
        "kernel": seen.held,
        "routers": seen.sessions,
        "differ": seen.differ,
        "not_counted": [{"process": who, "connections": number} for who, number in others.items()],
    }


def in_flight(seen: InFlight | None) -> dict[str, Any] | None:
    """In-flight counts as an object; None if they are unknown, which differs from none in flight."""
    if seen is None:
        return None
    uploads = [{"received": u.received, "expected": u.expected, "age_seconds": u.seconds} for u in seen.uploads]
    return {
        "requests": seen.requests,
        "connections": seen.connections,
        "uploads": uploads,
        "bytes_left": seen.bytes_left,
    }
