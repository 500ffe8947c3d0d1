"""STR03: proxy_timeout closes connections that are in use or pooled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.hops.nginx import NginxStream
from changeover.audit.limits import APART
from changeover.audit.rule import Rule
from changeover.audit.setting import Setting
from changeover.audit.view import View
from changeover.conf.nginx import values
from changeover.conf.place import Place

LONGEST_POOL = 600.0
"""Seconds of the longest pool that is known of a hop: that of Google's load balancers."""


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(NginxStream):
        silence = max(asked.app_time, asked.client_stall)
        pools = [link.target.pool_idle for link in view.in_front(hop)]
        pool = max((one.value or 0.0 for one in pools), default=0.0)
        enough = max(LONGEST_POOL + APART, silence * 2, pool + APART)
        seen: set[Place] = set()
        for route in hop.routes:
            limit = route.scope.setting("proxy_timeout", values.seconds, 600.0, "10m")
            if limit.place in seen:
                continue
            seen.add(limit.place)
            if limit.value is None:
                yield unknown(limit.place, route.name, limit.text, limit.missing)
            elif limit.value >= silence and (lacking := _lacking(pools, limit.value)):
                yield unknown(limit.place, route.name, f"{limit.text}: longer than any silence", lacking)
            elif limit.value >= silence and limit.value > pool:
                yield met(limit.place, route.name, limit.text, {"margin_seconds": limit.value - max(silence, pool)})
            else:
                yield violated(
                    limit.place,
                    route.name,
                    f"{limit.text}: shorter than a silence of {words.span(silence)}"
                    if limit.value < silence
                    else f"{limit.text}: not longer than the pool in front keeps connections, {words.span(pool)}",
                    get=Effect.RETRIED,
                    post=Effect.ERROR,
                    consequence="a request that meets the closing connection fails; the hop in front may repeat a GET, "
                    "and answers a POST with 502",
                    fix=f"proxy_timeout {enough:.0f}s;",
                    replacement=limit.replaced_by(enough),
                    numbers={"limit_seconds": limit.value, "silence_seconds": silence, "pool_idle_seconds": pool},
                )


def _lacking(pools: Sequence[Setting[float]], limit: float) -> str:
    """What is missing to compare the limit with the pool in front; empty if nothing is."""
    if limit > LONGEST_POOL:
        return ""
    if not pools:
        return "the hop in front: how long its pool keeps idle connections"
    return next((one.missing for one in pools if one.value is None), "")


RULE = Rule(
    id="STR03",
    name="stream-proxy-timeout",
    severity=Severity.WARNING,
    what="`proxy_timeout` of a TCP proxy is shorter than the longest silence, or than the pool in front keeps idle"
    " connections.",
    why="A TCP proxy closes a connection on which nothing was sent for `proxy_timeout`: while the application "
    "computes an answer, while a client pauses, or while the connection waits in a pool and its next request "
    "is on its way.",
    sources=("https://nginx.org/en/docs/stream/ngx_stream_proxy_module.html#proxy_timeout",),
    bad={
        "l4.conf": """\
events {}
stream {
    # expect: STR03
    proxy_timeout 10s;
    server { listen 0.0.0.0:9000; proxy_pass 10.0.1.5:8000; }
}
""",
    },
    good={
        "l4.conf": """\
events {}
stream {
    proxy_timeout 15m;
    server { listen 0.0.0.0:9000; proxy_pass 10.0.1.5:8000; }
}
""",
    },
    fix="Set it above both: `proxy_timeout 15m;`.",
    check=check,
)
