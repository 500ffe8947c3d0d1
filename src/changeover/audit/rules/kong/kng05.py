"""KNG05: Kong does not notice that a target has gone."""

from __future__ import annotations

import re
from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.hops.kong import Kong, host_of, target_address
from changeover.audit.rule import KONG, Rule
from changeover.audit.view import Address, View
from changeover.conf.nginx import values

_NUMBERS = re.compile(r"[\d.]+|\[[\da-fA-F:]+\]")


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(Kong):
        yield from _named_hosts(hop)
        for name, upstream in hop.upstreams.items():
            found = [one for target in upstream.each("targets") if (one := target_address(target)) is not None]
            if found and all(one.is_local for one in found):
                continue
            checks = upstream.get("healthchecks")
            intervals = [upstream.number("healthchecks", "active", way, "interval") for way in ("healthy", "unhealthy")]
            counts = ("tcp_failures", "timeouts", "http_failures")
            passive = [upstream.number("healthchecks", "passive", "unhealthy", count) for count in counts]
            where = checks.place if checks is not None else upstream.place
            if intervals[1] or (intervals[0] and passive.count(None) < len(passive)):
                yield met(where, f"upstream {name}", "active health checks are on")
            elif any(passive):
                missing = "whether a target that passive checks removed is admitted again: there is no active check"
                yield unknown(where, f"upstream {name}", "only passive health checks are on", missing)
            elif len(found) == 1:
                missing = f"whether {found[0]} is the address of a load balancer, which stays"
                text = "it has one target and no health check"
                if not _NUMBERS.fullmatch(found[0].host):
                    text += f"; {_stale(hop)}"
                yield unknown(where, f"upstream {name}", text, missing)
            elif not found:
                yield unknown(where, f"upstream {name}", "its targets are not in the given files", "its targets")
            else:
                yield violated(
                    where,
                    f"upstream {name}",
                    f"{len(found)} targets without health checks, which are off by default",
                    get=Effect.ERROR,
                    post=Effect.ERROR,
                    consequence="a GET and a POST that Kong sends to a replaced machine wait for the connect timeout, "
                    "then are tried elsewhere or fail",
                    fix="healthchecks.active with an interval for healthy and unhealthy; or one load balancer as "
                    "target",
                    numbers={"targets": len(found)},
                )


def _named_hosts(hop: Kong) -> Iterator[Finding]:
    """Services that name their machine themselves, without an upstream."""
    seen: set[str] = set()
    for service in hop.services:
        host, _ = host_of(service)
        if not host or host in seen or host in hop.upstreams or Address(host, None).is_local:
            continue
        seen.add(host)
        text = f"it has the host {host}, which no health check asks"
        if not _NUMBERS.fullmatch(host):
            text += f"; {_stale(hop)}"
        missing = f"whether {host} is the address of a load balancer, which stays"
        yield unknown(service.place, f"service {service.text('name') or host}", text, missing)


def _stale(hop: Kong) -> str:
    stale = hop.setting("dns_stale_ttl", values.seconds, 3600.0, "3600")
    return f"{stale.text}: Kong may use an old address of the name so long"


RULE = Rule(
    id="KNG05",
    name="kong-dead-targets",
    severity=Severity.ERROR,
    what="An upstream names several machines, and its health checks are off.",
    why="Active and passive health checks of an upstream are off unless their thresholds and intervals are set. A "
    "machine that a rollout replaces stays a target, and each request to it waits for a connect timeout. A "
    "name is kept too: `dns_stale_ttl` uses an old address for an hour.",
    sources=(
        "https://developer.konghq.com/gateway/entities/upstream/#schema",
        "https://developer.konghq.com/gateway/traffic-control/health-checks-circuit-breakers/",
    ),
    bad={
        "kong.yml": """\
_format_version: "3.0"
upstreams:
# expect: KNG05
- name: shop
  targets:
  - target: 10.0.0.6:9000
  - target: 10.0.0.7:9000
""",
    },
    good={
        "kong.yml": """\
_format_version: "3.0"
upstreams:
- name: shop
  healthchecks:
    active:
      http_path: /ready
      healthy: {interval: 2, successes: 1}
      unhealthy: {interval: 2, http_failures: 2, tcp_failures: 2}
  targets:
  - target: 10.0.0.6:9000
  - target: 10.0.0.7:9000
""",
    },
    fix="Name the address of a load balancer as the only target, or set active health checks.",
    check=check,
    lab=KONG,
)
