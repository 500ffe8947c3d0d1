"""NGX06: keepalive_timeout is not longer than that of the load balancer of Google Cloud."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.facts import POOL_IDLE
from changeover.audit.hops.nginx import NginxHttp
from changeover.audit.hops.nginx_front import behind_google
from changeover.audit.rule import Rule
from changeover.audit.view import View
from changeover.conf.nginx import values
from changeover.conf.place import Place


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(NginxHttp):
        google, evidence = behind_google(view, hop, asked)
        if google is False:
            continue
        seen: set[Place] = set()
        if hop.unseen is not None and not any(hop.block.inner("server")):
            yield unknown(hop.unseen.place, hop.name, "no server is in the given files", hop.unseen.missing)
        for server in hop.block.inner("server"):
            idle = server.setting("keepalive_timeout", values.seconds, 75.0, "75s")
            if idle.place in seen:
                continue
            seen.add(idle.place)
            if idle.value is None:
                yield unknown(idle.place, hop.name, idle.text, idle.missing)
            elif google is None:
                if idle.value <= POOL_IDLE:
                    yield unknown(idle.place, hop.name, f"{idle.text}: too short behind Google Cloud", evidence)
                else:
                    yield met(idle.place, hop.name, idle.text)
            elif idle.value > POOL_IDLE:
                yield met(idle.place, hop.name, idle.text, {"margin_seconds": idle.value - POOL_IDLE})
            else:
                yield violated(
                    idle.place,
                    hop.name,
                    f"{idle.text}, and the load balancer in front keeps idle connections for 600 s ({evidence})",
                    get=Effect.RETRIED,
                    post=Effect.ERROR,
                    consequence="a request that meets the closing connection fails: the load balancer repeats a GET, "
                    "and answers a POST with 502",
                    fix="keepalive_timeout 620s;",
                    numbers={"idle_seconds": idle.value, "pool_idle_seconds": POOL_IDLE},
                    replacement=idle.replaced_by(POOL_IDLE + 20),
                )


RULE = Rule(
    id="NGX06",
    name="nginx-keepalive-behind-google",
    severity=Severity.ERROR,
    what="nginx behind an HTTP load balancer of Google Cloud closes idle connections before the load balancer does.",
    why="The load balancer keeps idle connections to its backends for 600 seconds, and this cannot be changed. A "
    "server that closes earlier can close while the next request is on its way; a POST is then answered with "
    "502.",
    sources=(
        "https://cloud.google.com/load-balancing/docs/https#timeouts_and_retries",
        "https://nginx.org/en/docs/http/ngx_http_core_module.html#keepalive_timeout",
    ),
    bad={
        "nginx.conf": """\
events {}
http {
    # expect: NGX06
    keepalive_timeout 65s;
    server { listen 8080; location / { proxy_pass http://127.0.0.1:9000; } }
}
""",
    },
    good={
        "nginx.conf": """\
events {}
http {
    keepalive_timeout 620s;
    server { listen 8080; location / { proxy_pass http://127.0.0.1:9000; } }
}
""",
    },
    fix="Set `keepalive_timeout 620s;`.",
    check=check,
    assume={"behind": "google"},
)
