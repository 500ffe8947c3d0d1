"""GCP08: connections of the load balancer are used longer than draining lasts."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.facts import DRAINING, drain, first_hops, is_http, services_in_front
from changeover.audit.google.resources import Resource
from changeover.audit.hops.nginx import NginxHttp
from changeover.audit.limits import SHORT
from changeover.audit.lines import line
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.rules.balancer.gcp02 import SPARE
from changeover.audit.setting import Setting
from changeover.audit.view import Hop, View
from changeover.conf.nginx import values


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for other in first_hops(view):
        if not isinstance(other, NginxHttp) and services_in_front(view, other):
            yield _without_age(other)
    for hop in view.of(NginxHttp):
        services = services_in_front(view, hop)
        if not services and not view.in_front(hop) and any(is_http(one) for one in view.google.of("backendService")):
            missing = "which backend service leads to it: give the files of one, and of one first hop"
            yield unknown(hop.place, hop.name, "no backend service is joined with it", missing)
        for service in services:
            life = hop.block.setting("keepalive_time", values.seconds, 3600.0, "1h")
            lasts = drain(service)
            if life.value is None or lasts.value is None:
                lacking = life if life.value is None else lasts
                yield unknown(lacking.place, hop.name, lacking.text, lacking.missing)
                continue
            need, left = life.value + asked.request_seconds, lasts.value - asked.request_seconds
            numbers: dict[str, float | str | None] = {
                "lifetime_seconds": life.value,
                "request_seconds": asked.request_seconds,
                "drain_seconds": lasts.value,
            }
            if need <= lasts.value:
                yield met(life.place, hop.name, f"{life.text}; {lasts.text}", numbers)
            else:
                yield violated(
                    life.place,
                    hop.name,
                    f"{life.text}: with a request of {words.span(asked.request_seconds)} longer than the drain of "
                    f"{words.span(lasts.value)} ({lasts.place})",
                    get=Effect.ERROR,
                    post=Effect.CUT,
                    consequence="a GET that is sent as the instance is deleted fails; a POST that began late is cut",
                    fix=_fix(life, service, left, asked),
                    numbers=numbers,
                    replacement=life.replaced_by(left) if left >= SHORT else None,
                )


def _fix(life: Setting[float], service: Resource, left: float, asked: Assumptions) -> str:
    """`left`: seconds of the drain besides the longest request."""
    if left >= SHORT:
        return line(life, "nginx", left)
    longer = service.with_value(DRAINING, f"{asked.request_seconds + SPARE:.0f}")
    return f"{line(life, 'nginx', SHORT)} with {longer}"


def _without_age(hop: Hop) -> Finding:
    if hop.idle.value == 0:
        return met(hop.idle.place, hop.name, f"{hop.idle.text}: a connection serves one request")
    missing = (
        f"how long {hop.software} uses a connection for new requests: `keepalive_time` in Kong's nginx, "
        "`max_connection_duration` of Envoy; other servers have no such limit"
    )
    return unknown(hop.idle.place, hop.name, "the age at which it ends a connection is not known", missing)


RULE = Rule(
    id="GCP08",
    name="google-connections-outlive-draining",
    severity=Severity.ERROR,
    what="The server uses a connection of the load balancer for new requests longer than draining lasts.",
    why="During draining the load balancer opens no new connections, but may send requests on those that it has. "
    "nginx ends a connection after `keepalive_time`, one hour unless set; until then a draining instance gets "
    "new requests, and its deletion cuts them.",
    sources=(
        "https://cloud.google.com/load-balancing/docs/enabling-connection-draining",
        "https://nginx.org/en/docs/http/ngx_http_core_module.html#keepalive_time",
    ),
    bad={
        "lb.tf": """\
resource "google_compute_backend_service" "web" {
  name = "web"
  timeout_sec                     = 600
  connection_draining_timeout_sec = 460
}
""",
        "nginx.conf": """\
events {}
http {
    # expect: GCP08
    keepalive_time 1h;
    server { listen 8080; location / { proxy_pass http://127.0.0.1:9000; } }
}
""",
    },
    good={
        "lb.tf": """\
resource "google_compute_backend_service" "web" {
  name = "web"
  timeout_sec                     = 600
  connection_draining_timeout_sec = 900
}
""",
        "nginx.conf": """\
events {}
http {
    keepalive_time 120s;
    server { listen 8080; location / { proxy_pass http://127.0.0.1:9000; } }
}
""",
    },
    fix="Set `keepalive_time` below the draining time less the longest request: `keepalive_time 120s;` with 900 "
    "seconds.",
    check=check,
    lab=GOOGLE_CLOUD,
)
