"""NGX10: an upstream has no second server to try."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.hops.nginx import NginxHttp
from changeover.audit.rule import Rule
from changeover.audit.view import View
from changeover.conf.nginx.reader import place


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(NginxHttp):
        if (unseen := hop.unseen) is not None:
            yield unknown(unseen.place, hop.name, unseen.text, unseen.missing)
        for route in hop.routes:
            if route.upstream is None:
                where = place(route.passed)
                missing = "the address that the variable stands for"
                yield unknown(where, route.name, f"{route.passed} names its servers by a variable", missing)
        for upstream in hop.upstreams:
            found = upstream.addresses
            name = f"upstream {upstream.name}"
            if not found:
                yield unknown(upstream.scope.place, name, "its servers are not in the given files", "its servers")
                continue
            if all(one.is_local for one in found):
                continue  # one process on this machine: naming it twice helps nothing
            if len(set(found)) > 1:
                yield met(upstream.scope.place, name, f"{len(set(found))} servers: nginx can try another")
                continue
            lasting = all("max_fails=0" in one.values for one in upstream.servers)
            if len(found) > 1 and lasting:
                yield met(upstream.scope.place, name, f"{found[0]} is named {len(found)} times with max_fails=0")
                continue
            twice = len(found) > 1
            where = upstream.scope.place if upstream.explicit else place(upstream.servers[0])
            yield violated(
                where,
                name,
                f"{found[0]} is named {len(found)} times without max_fails=0: one failure stops both for 10 s"
                if twice
                else f"{found[0]} is the only server: nginx has none to retry on",
                get=Effect.ERROR,
                post=Effect.ERROR,
                consequence="a GET and a POST whose connection is refused or reset are answered with 502"
                + (", and so is every request of the next 10 s" if twice else ""),
                fix=f"server {found[0]} max_fails=0; twice in the upstream",
            )


RULE = Rule(
    id="NGX10",
    name="nginx-single-upstream",
    severity=Severity.ERROR,
    what="An upstream names one address, or one address twice without `max_fails=0`.",
    why="An upstream of one server has no server to retry on, so a connection that is refused or reset becomes "
    "502. The address of a load balancer that is named twice gives one retry; but with the default "
    "`max_fails=1` one failure takes both away for ten seconds, and everything is answered with 502.",
    sources=(
        "https://nginx.org/en/docs/http/ngx_http_upstream_module.html#server",
        "https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_next_upstream",
    ),
    bad={
        "nginx.conf": """\
events {}
http {
    # expect: NGX10
    upstream inner { server 10.0.0.5:9000; }
    # expect: NGX10
    upstream twice { server 10.0.0.6:9000; server 10.0.0.6:9000; }
    server {
        listen 8080;
        location / { proxy_pass http://inner; }
        location /api { proxy_pass http://twice; }
    }
}
""",
    },
    good={
        "nginx.conf": """\
events {}
http {
    upstream inner { server 10.0.0.5:9000 max_fails=0; server 10.0.0.5:9000 max_fails=0; }
    server { listen 8080; location / { proxy_pass http://inner; } }
}
""",
    },
    fix="Name the address twice, each with `max_fails=0`: `server VIP:9000 max_fails=0; server VIP:9000 max_fails=0;`.",
    check=check,
)
