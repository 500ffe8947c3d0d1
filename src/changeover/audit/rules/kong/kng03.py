"""KNG03: Kong keeps idle connections longer than the server behind."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Finding, Severity, met
from changeover.audit.hops.kong import Kong
from changeover.audit.pools import pool_fits
from changeover.audit.rule import KONG, Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(Kong):
        for target in hop.targets:
            pool = target.pool_idle
            if pool.value == 0:
                yield met(pool.place, target.name, pool.text)
                continue
            kept = f"Kong keeps idle connections for {words.span(pool.value or 0)} ({pool.text})"
            yield pool_fits(view, hop, target, target.place, kept)


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
