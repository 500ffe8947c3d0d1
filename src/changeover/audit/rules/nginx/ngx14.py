"""NGX14: the name of a machine is resolved once, when nginx starts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.hops.nginx import Nginx, address
from changeover.audit.rule import Rule
from changeover.audit.view import View
from changeover.conf.nginx.reader import place

_ADDRESS = re.compile(r"[\d.]+|\[.*\]")
_MACHINE = re.compile(r"\.c\.[\w.:-]+\.internal$|\.internal$|^[a-z][\w-]*?(?<!v)-?\d+(\.|$)|^ip-\d")
"""Names that clouds and operators give to single machines: `app-1`, `web02.example.org`, `ip-10-0-0-1.ec2.internal`.

A version is none of them: `registryv2`.
"""


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(Nginx):
        for upstream in hop.upstreams:
            hosts = {found.host for one in upstream.servers if (found := address(one.values[0])) is not None}
            for server in upstream.servers:
                found = address(server.values[0])
                if found is None or found.is_local or _ADDRESS.fullmatch(found.host):
                    continue
                where, name = place(server), f"server {found.host}"
                if "resolve" in server.values:
                    yield met(where, name, f"{server}: nginx follows the name")
                elif _MACHINE.search(found.host) or len(hosts) > 1:
                    yield violated(
                        where,
                        name,
                        f"{found.host} looks like the name of a machine, and nginx resolves it once, when it starts",
                        get=Effect.ERROR,
                        post=Effect.ERROR,
                        consequence="a GET and a POST go to the address of the replaced machine until nginx reloads",
                        fix="the address of a load balancer; or `resolve` with zone and resolver (nginx 1.27.3)",
                    )
                else:
                    yield unknown(
                        where,
                        name,
                        f"nginx resolves {found.host} once, when it starts",
                        "whether this name keeps its address when instances are replaced, as a load balancer's does",
                    )


RULE = Rule(
    id="NGX14",
    name="nginx-names-resolved-once",
    severity=Severity.ERROR,
    what="An upstream names machines that a rollout replaces, and nginx resolves names once.",
    why="nginx resolves the names in its configuration when it starts or reloads. After a rollout the name belongs"
    " to another address, and nginx goes on using the old one. `resolve` with `zone` and `resolver` follows "
    "the name; it is in the open version from 1.27.3 on.",
    sources=("https://nginx.org/en/docs/http/ngx_http_upstream_module.html#resolve", "https://nginx.org/en/CHANGES"),
    bad={
        "nginx.conf": """\
events {}
http {
    upstream inner {
        # expect: NGX14
        server app-1.europe-west1-b.c.shop.internal:9000;
        # expect: NGX14
        server app-2.europe-west1-b.c.shop.internal:9000;
    }
    server { listen 8080; location / { proxy_pass http://inner; } }
}
""",
    },
    good={
        "nginx.conf": """\
events {}
http {
    resolver 169.254.169.254 valid=10s;
    upstream inner {
        zone inner 64k;
        server app-1.europe-west1-b.c.shop.internal:9000 resolve;
        server app-2.europe-west1-b.c.shop.internal:9000 resolve;
    }
    server { listen 8080; location / { proxy_pass http://inner; } }
}
""",
    },
    fix="Name the address of a load balancer, or add `resolve` with `zone` and `resolver` (1.27.3 or newer).",
    check=check,
    lab="it needs names whose addresses change, and nginx looks them up in the files of the machine",
)
