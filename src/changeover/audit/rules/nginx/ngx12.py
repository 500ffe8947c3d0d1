"""NGX12: a version of nginx changes how connections to an upstream are kept."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.hops.nginx import POOLS_BY_DEFAULT, NginxHttp
from changeover.audit.rule import Rule
from changeover.audit.view import View
from changeover.conf.nginx.reader import place


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(NginxHttp):
        if (unseen := hop.unseen) is not None:
            yield unknown(unseen.place, hop.name, unseen.text, unseen.missing)
        seen: set[str] = set()
        for route in hop.routes:
            up = route.upstream
            if route.module != "proxy" or up is None or up.name in seen:
                continue
            seen.add(up.name)
            name = f"upstream {up.name}"
            where = up.scope.place if up.explicit else place(route.passed)
            explicit = [*(up.scope.own("keepalive") if up.explicit else ()), route.scope.find("proxy_http_version")]
            if found := [one for one in explicit if one is not None]:
                yield met(place(found[0]), name, str(found[0]))
            elif (include := route.scope.hidden()) is not None:
                missing = f"the file that `{include}` in {place(include)} names: it may set proxy_http_version"
                yield unknown(where, name, "proxy_http_version is not set in the given files", missing)
            elif hop.version is not None and hop.version < POOLS_BY_DEFAULT:
                number = ".".join(map(str, hop.version))
                yield met(
                    where, name, f"nginx {number} keeps no connections by default; an upgrade to 1.29.7 changes this"
                )
            else:
                since = "from 1.29.7 on" if hop.version is None else f"in nginx {'.'.join(map(str, hop.version))}"
                yield violated(
                    where,
                    name,
                    f"neither keepalive nor proxy_http_version is set: {since} nginx keeps 32 connections for 60 s"
                    + ("; no version is given, and this is the worse case" if hop.version is None else ""),
                    get=Effect.RETRIED,
                    post=Effect.ERROR,
                    consequence="a request on a connection that the server is closing fails: nginx repeats a GET, and "
                    "answers a POST with 502",
                    fix="keepalive 32 and keepalive_timeout in the upstream, proxy_http_version 1.1; or keepalive 0",
                    numbers={"pool_idle_seconds": 60.0},
                )


RULE = Rule(
    id="NGX12",
    name="nginx-upstream-keepalive-default",
    severity=Severity.ERROR,
    what="Neither `keepalive` of the upstream nor `proxy_http_version` is set, and the defaults differ between "
    "versions.",
    why="From 1.29.7 on, nginx speaks HTTP/1.1 with upstreams and keeps 32 idle connections for each worker. A "
    "server that closes idle connections sooner than nginx then answers some POSTs with 502, which no "
    "configuration file shows. A rollout that crosses this version changes it.",
    sources=("https://nginx.org/en/CHANGES", "https://nginx.org/en/docs/http/ngx_http_upstream_module.html#keepalive"),
    bad={
        "nginx.conf": """\
events {}
http {
    # expect: NGX12
    upstream inner { server 10.0.0.5:9000; server 10.0.0.6:9000; }
    server { listen 8080; location / { proxy_pass http://inner; } }
}
""",
    },
    good={
        "nginx.conf": """\
events {}
http {
    upstream inner { server 10.0.0.5:9000; server 10.0.0.6:9000; keepalive 32; keepalive_timeout 4s; }
    server {
        listen 8080;
        location / { proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://inner; }
    }
}
""",
    },
    fix="Set both: `keepalive` with a `keepalive_timeout` below the idle timeout of the servers, and "
    "`proxy_http_version`.",
    check=check,
    lab="its bad example needs nginx 1.29.7, and most distributions have an older one",
)
