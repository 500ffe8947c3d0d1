"""STR01: worker_shutdown_timeout of a TCP proxy is shorter than a connection through it."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown
from changeover.audit.hops.nginx import NginxStream
from changeover.audit.limits import occupied, upload_fits
from changeover.audit.rule import Rule
from changeover.audit.view import View
from changeover.conf.nginx import values


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(NginxStream):
        limit = hop.main.setting("worker_shutdown_timeout", values.seconds, float("inf"), "without a limit")
        need = occupied(view, hop, asked)
        links = view.in_front(hop)
        if limit.value == float("inf"):
            yield met(limit.place, hop.name, limit.text)
            continue
        lives = [link.target.pool_lifetime for link in links]
        if lacking := [life for life in lives if life.value is None]:
            yield unknown(limit.place, hop.name, f"{limit.text}; {lacking[0].text}", lacking[0].missing)
            continue
        longest = max((life.value or 0.0 for life in lives), default=0.0)
        if not links and (limit.value or 0) >= need:
            missing = "the hop in front: how long it uses a connection for new requests (keepalive_time)"
            yield unknown(limit.place, hop.name, f"{limit.text}: enough for one request", missing)
            continue
        cut = words.span(limit.value) if limit.value is not None else ""
        whole = f"keepalive_time {words.span(longest)} in front and a request of {words.span(need)}" if links else ""
        yield upload_fits(
            limit,
            longest + need,
            hop.name,
            asked,
            get=Effect.CUT,
            consequence=f"a GET and a POST that are in flight {cut} after a reload or a stop are cut",
            whole=whole,
            fix=f"worker_shutdown_timeout {longest + need + 30:.0f}s;",
            replacement=limit.replaced_by(longest + need + 30),
        )


RULE = Rule(
    id="STR01",
    name="stream-worker-shutdown-timeout",
    severity=Severity.ERROR,
    what="`worker_shutdown_timeout` of a TCP proxy is shorter than a pooled connection may carry requests.",
    why="A TCP proxy sees no requests. Its old workers close every connection when `worker_shutdown_timeout` is "
    "over, also one on which nginx in front has just begun an upload. A pooled connection takes new requests "
    "until its `keepalive_time` is over, and then ends after the last of them.",
    sources=(
        "https://nginx.org/en/docs/ngx_core_module.html#worker_shutdown_timeout",
        "https://nginx.org/en/docs/http/ngx_http_upstream_module.html#keepalive_time",
    ),
    bad={
        "edge.conf": """\
events {}
http {
    upstream l4 {
        server 10.0.0.5:9000 max_fails=0;
        server 10.0.0.5:9000 max_fails=0;
        keepalive 32;
        keepalive_time 120s;
    }
    server { listen 8080; location / { proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://l4; } }
}
""",
        "l4.conf": """\
# expect: STR01
worker_shutdown_timeout 60s;
events {}
stream {
    server { listen 0.0.0.0:9000; proxy_pass 10.0.1.5:8000; }
}
""",
    },
    good={
        "edge.conf": """\
events {}
http {
    upstream l4 {
        server 10.0.0.5:9000 max_fails=0;
        server 10.0.0.5:9000 max_fails=0;
        keepalive 32;
        keepalive_time 120s;
    }
    server { listen 8080; location / { proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://l4; } }
}
""",
        "l4.conf": """\
worker_shutdown_timeout 180s;
events {}
stream {
    server { listen 0.0.0.0:9000; proxy_pass 10.0.1.5:8000; }
}
""",
    },
    fix="Set it above `keepalive_time` of the pool in front and the longest request; or shorten that `keepalive_time`.",
    check=check,
)
