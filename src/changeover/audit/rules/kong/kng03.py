"""KNG03: Kong keeps idle connections longer than the server behind."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.hops.kong import Kong
from changeover.audit.limits import APART
from changeover.audit.rule import KONG, Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(Kong):
        for target in hop.targets:
            pool, inner = target.pool_idle, view.server_of(target)
            if pool.value == 0:
                yield met(pool.place, target.name, pool.text)
            elif pool.value is None:
                yield unknown(pool.place, target.name, pool.text, pool.missing)
            elif inner is None:
                missing = "the server behind: how long it keeps idle connections"
                yield unknown(target.place, target.name, pool.text, missing)
            elif inner.idle.value is None:
                yield unknown(inner.idle.place, target.name, inner.idle.text, inner.idle.missing)
            elif inner.idle.value > pool.value + APART:
                margin = inner.idle.value - pool.value
                yield met(inner.idle.place, target.name, f"{inner.idle.text}; {pool.text}", {"margin_seconds": margin})
            else:
                yield violated(
                    inner.idle.place,
                    target.name,
                    f"{inner.idle.text}, and Kong keeps idle connections for {words.span(pool.value)} ({pool.text})",
                    get=Effect.RETRIED,
                    post=Effect.ERROR,
                    consequence="a request that meets the closing connection fails: Kong repeats a GET, and answers a "
                    "POST with 502",
                    fix=f"more than {words.span(pool.value + APART)} here, or a shorter "
                    f"upstream_keepalive_idle_timeout",
                    numbers={"idle_seconds": inner.idle.value, "pool_idle_seconds": pool.value},
                )


RULE = Rule(
    id="KNG03",
    name="kong-pool-outlives-server",
    severity=Severity.ERROR,
    what="`upstream_keepalive_idle_timeout` is not shorter than the idle timeout of the server behind.",
    why="Kong keeps idle connections for 60 seconds; application servers in Python close them after 2 to 5. A "
    "request on a connection that is being closed fails, and Kong repeats no POST that it has begun to send.",
    sources=("https://developer.konghq.com/gateway/configuration/#upstream-keepalive-idle-timeout",),
    bad={
        "kong.conf": """\
proxy_listen = 0.0.0.0:8000
""",
        "kong.yml": """\
_format_version: "3.0"
services:
- name: shop
  url: http://10.0.0.6:9000
""",
        "inner.conf": """\
events {}
http {
    # expect: KNG03
    keepalive_timeout 5s;
    server { listen 9000; }
}
""",
    },
    good={
        "kong.conf": """\
upstream_keepalive_idle_timeout = 30
""",
        "kong.yml": """\
_format_version: "3.0"
services:
- name: shop
  url: http://10.0.0.6:9000
""",
        "inner.conf": """\
events {}
http {
    keepalive_timeout 75s;
    server { listen 9000; }
}
""",
    },
    fix="Raise the idle timeout of the server to 75 seconds, or lower `upstream_keepalive_idle_timeout`.",
    check=check,
    lab=KONG,
)
