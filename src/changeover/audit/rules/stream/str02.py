"""STR02: pooled connections keep an old TCP proxy in use longer than its rollout lasts."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.hops.nginx import NginxHttp
from changeover.audit.rule import Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(NginxHttp):
        for target in hop.targets:
            inner = view.behind(target)
            life = target.pool_lifetime
            if life.value == 0 or (inner is not None and inner.sees_requests):
                continue  # no pool, or a hop that sees requests and ends connections between them
            if life.value is None:
                yield unknown(life.place, target.name, life.text, life.missing)
            elif life.value <= asked.roll_window:
                yield met(life.place, target.name, life.text, {"margin_seconds": asked.roll_window - life.value})
            elif inner is None:
                missing = "the hop behind: whether it is a TCP proxy"
                yield unknown(life.place, target.name, f"{life.text}: too long through a TCP proxy", missing)
            else:
                yield violated(
                    life.place,
                    target.name,
                    f"{life.text}: longer than an old instance of {inner.name} has, {words.span(asked.roll_window)}",
                    get=Effect.STALE,
                    post=Effect.CUT,
                    consequence="a GET is still answered by removed instances; a POST in flight there is cut when "
                    "they stop",
                    fix="keepalive_time 60s; in the upstream",
                    replacement=life.replaced_by(min(60.0, asked.roll_window)),
                    numbers={"lifetime_seconds": life.value, "roll_window_seconds": asked.roll_window},
                )


RULE = Rule(
    id="STR02",
    name="pool-pins-old-proxy",
    severity=Severity.ERROR,
    what="The pool of the hop in front keeps its connections through a TCP proxy longer than an old instance of it"
    " exists.",
    why="A pooled connection stays with the instance of the TCP proxy, and with the server behind, that it was "
    "opened through. Removing them from a balancer changes nothing for it. `keepalive_time` of the pool, one "
    "hour by default, is what ends it.",
    sources=("https://nginx.org/en/docs/http/ngx_http_upstream_module.html#keepalive_time",),
    bad={
        "edge.conf": """\
events {}
http {
    upstream l4 {
        server 10.0.0.5:9000 max_fails=0;
        server 10.0.0.5:9000 max_fails=0;
        keepalive 32;
        # expect: STR02
        keepalive_time 1h;
    }
    server { listen 8080; location / { proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://l4; } }
}
""",
        "l4.conf": """\
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
        keepalive_time 60s;
    }
    server { listen 8080; location / { proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://l4; } }
}
""",
        "l4.conf": """\
events {}
stream {
    server { listen 0.0.0.0:9000; proxy_pass 10.0.1.5:8000; }
}
""",
    },
    fix="Set `keepalive_time 60s;` in the upstream.",
    check=check,
)
