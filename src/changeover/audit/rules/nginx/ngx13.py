"""NGX13: the tries of nginx take longer than what stands in front waits."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.facts import edge_timeout
from changeover.audit.hops.nginx import NginxHttp
from changeover.audit.limits import SHORT
from changeover.audit.rule import Rule
from changeover.audit.view import View
from changeover.conf.nginx import values
from changeover.conf.place import Place


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(NginxHttp):
        if (unseen := hop.unseen) is not None:
            yield unknown(unseen.place, hop.name, unseen.text, unseen.missing)
        seen: set[tuple[Place, str]] = set()
        for route in hop.routes:
            up = route.upstream
            if up is None or all(one.is_local for one in up.addresses):
                continue  # a process on this machine refuses at once
            connect = route.scope.setting(f"{route.module}_connect_timeout", values.seconds, 60.0, "60s")
            tries = route.scope.setting(f"{route.module}_next_upstream_tries", values.size, 0, "without a limit")
            if (connect.place, up.name) in seen:
                continue
            seen.add((connect.place, up.name))
            if connect.value is None or tries.value is None:
                lacking = connect if connect.value is None else tries
                yield unknown(lacking.place, route.name, lacking.text, lacking.missing)
                continue
            count = min(tries.value or len(up.servers), len(up.servers))
            total = connect.value * count
            text = f"{connect.text}, times {count} {'try' if count == 1 else 'tries'}: {words.span(total)}"
            edge = edge_timeout(view, hop, asked)
            if edge.value is None:
                if total <= SHORT:
                    yield met(connect.place, route.name, text)
                else:
                    yield unknown(connect.place, route.name, text, edge.missing)
            elif total <= edge.value:
                margin = {"margin_seconds": edge.value - total}
                yield met(connect.place, route.name, f"{text}; {edge.text}", margin)
            else:
                yield violated(
                    connect.place,
                    route.name,
                    f"{text}; {edge.text}",
                    get=Effect.ERROR,
                    post=Effect.ERROR,
                    consequence="a GET and a POST that nginx sends to a deleted machine are answered with 504 or 502 "
                    "before nginx tries another",
                    fix=f"{route.module}_connect_timeout 2s; {route.module}_next_upstream_tries 2;",
                    numbers={"tries": count, "total_seconds": total, "edge_timeout_seconds": edge.value},
                )


RULE = Rule(
    id="NGX13",
    name="nginx-connect-timeout",
    severity=Severity.ERROR,
    what="`proxy_connect_timeout` times the number of tries exceeds the timeout of what stands in front.",
    why="A deleted machine does not refuse connections: packets to it are lost, and each try takes the whole "
    "connect timeout. If what stands in front gives up first, the second server is never tried.",
    sources=(
        "https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_connect_timeout",
        "https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_next_upstream_tries",
    ),
    bad={
        "nginx.conf": """\
events {}
http {
    upstream inner { server 10.0.0.5:9000; server 10.0.0.6:9000; }
    # expect: NGX13
    server {
        listen 8080;
        location / { proxy_pass http://inner; }
    }
}
""",
    },
    good={
        "nginx.conf": """\
events {}
http {
    upstream inner { server 10.0.0.5:9000; server 10.0.0.6:9000; }
    server {
        listen 8080;
        location / { proxy_connect_timeout 2s; proxy_next_upstream_tries 2; proxy_pass http://inner; }
    }
}
""",
    },
    fix="Set `proxy_connect_timeout 2s;` and `proxy_next_upstream_tries 2;`.",
    check=check,
    assume={"edge-timeout": "30s"},
)
