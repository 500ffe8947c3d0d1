"""GCP11: pooled connections outlive the connection tracking of a passthrough load balancer."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.facts import is_passthrough
from changeover.audit.lines import line
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.setting import Setting
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    pools = [target.pool_idle for hop in view.hops for target in hop.targets]
    software = {id(target.pool_idle): hop.software for hop in view.hops for target in hop.targets}
    known = sorted((one for one in pools if one.value), key=lambda one: one.value or 0.0)
    for service in view.google.of("backendService"):
        if not is_passthrough(service):
            continue
        path = ("connectionTrackingPolicy", "idleTimeoutSec")
        found = service.number(path, 600.0, "600")
        if found.value is None:
            yield unknown(found.place, service.object, found.text, found.missing)
            continue
        if not known:
            missing = "the configuration of the hop in front: how long its pool keeps idle connections"
            yield unknown(found.place, service.object, found.text, missing)
            continue
        longest = known[-1]
        keeps = longest.value or 0.0
        lacking = next((one for one in pools if one.value is None), None)
        if keeps < found.value and lacking is not None:
            yield unknown(found.place, service.object, f"{found.text}; {lacking.text}", lacking.missing)
        elif keeps < found.value:
            yield met(found.place, service.object, f"{found.text}; {longest.text}")
        else:
            yield violated(
                found.place,
                service.object,
                f"{found.text}, and a pool keeps idle connections for {words.span(keeps)} ({longest.place})",
                get=Effect.RETRIED,
                post=Effect.ERROR,
                consequence="a request on a forgotten connection is reset: a GET is repeated, a POST fails",
                fix=_fix(longest, software[id(longest)], found.value),
                numbers={"idle_seconds": found.value, "pool_idle_seconds": keeps},
            )


def _fix(pool: Setting[float], software: str, below: float) -> str:
    shorter = line(pool, software, max(below - 10, below / 2))
    return f"{shorter} in {pool.place}" if shorter else f"a pool idle time below {below:.0f} s"


RULE = Rule(
    id="GCP11",
    name="google-connection-tracking-idle",
    severity=Severity.WARNING,
    what="A pool keeps idle connections longer than a passthrough load balancer remembers them.",
    why="A passthrough load balancer forgets an idle connection after `idleTimeoutSec`, 600 seconds unless set. "
    "The next packet may go to another instance, which answers with a reset.",
    sources=("https://cloud.google.com/load-balancing/docs/internal#connection-tracking",),
    bad={
        "lb.tf": """\
# expect: GCP11
resource "google_compute_region_backend_service" "l4" {
  name                  = "l4"
  protocol              = "TCP"
  load_balancing_scheme = "INTERNAL"
}
""",
        "nginx.conf": """\
events {}
http {
    upstream l4 {
        server 10.0.0.5:9000 max_fails=0;
        server 10.0.0.5:9000 max_fails=0;
        keepalive 32;
        keepalive_timeout 20m;
    }
    server { listen 8080; location / { proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://l4; } }
}
""",
    },
    good={
        "lb.tf": """\
resource "google_compute_region_backend_service" "l4" {
  name                  = "l4"
  protocol              = "TCP"
  load_balancing_scheme = "INTERNAL"
}
""",
        "nginx.conf": """\
events {}
http {
    upstream l4 {
        server 10.0.0.5:9000 max_fails=0;
        server 10.0.0.5:9000 max_fails=0;
        keepalive 32;
        keepalive_timeout 60s;
    }
    server { listen 8080; location / { proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://l4; } }
}
""",
    },
    fix="Let pools close idle connections within 600 seconds.",
    check=check,
    lab=GOOGLE_CLOUD,
)
