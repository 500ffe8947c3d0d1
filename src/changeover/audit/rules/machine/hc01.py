"""HC01: a health check only connects."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.facts import is_http
from changeover.audit.google.resources import Resource, check_type
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for service in view.google.of("backendService"):
        if missing := view.google.lost_checks(service, "healthChecks"):
            yield unknown(service.at("healthChecks"), service.object, "what it asks is not known", missing)
        for health in view.google.checks(service, "healthChecks"):
            kind = check_type(health)
            if kind is None:
                yield unknown(health.place, health.object, "its type cannot be read", "the type of the health check")
            elif kind not in {"TCP", "SSL"}:
                yield met(health.place, health.object, f"it asks by {kind}")
            elif not is_http(service):
                missing = "whether what listens is one process, which closes its port when it drains"
                yield unknown(health.place, health.object, f"it connects by {kind}, and asks nothing", missing)
            else:
                yield violated(
                    health.place,
                    health.object,
                    f"it connects by {kind}, and {service.object} serves HTTP",
                    get=Effect.ERROR,
                    post=Effect.ERROR,
                    consequence="a GET and a POST are sent to a server that accepts and never answers, and are reset",
                    fix=_asks(health, kind),
                )


def _asks(health: Resource, kind: str) -> str:
    """A check of the same port by HTTP, as the file writes it."""
    port = health.body.text(f"{kind.lower()}HealthCheck", "port") or "80"
    if health.origin in {"terraform", "plan"}:
        return f"http_health_check {{ port = {port} }} instead of {kind.lower()}_health_check"
    return f"httpHealthCheck: {{port: {port}, requestPath: /}} instead of {kind.lower()}HealthCheck"


RULE = Rule(
    id="HC01",
    name="health-check-of-the-port",
    severity=Severity.ERROR,
    what="A health check of an HTTP service connects, and asks nothing.",
    why="The kernel accepts connections for a process that no longer takes them: application servers with several "
    "processes keep their port open while they drain. A TCP check passes on such a server, and its connections"
    " are reset when it exits.",
    sources=("https://cloud.google.com/load-balancing/docs/health-check-concepts",),
    bad={
        "lb.tf": """\
resource "google_compute_backend_service" "web" {
  name                            = "web"
  connection_draining_timeout_sec = 460
  health_checks                   = [google_compute_health_check.ready.id]
}

# expect: HC01
resource "google_compute_health_check" "ready" {
  name                = "ready"
  check_interval_sec  = 10
  timeout_sec         = 5
  unhealthy_threshold = 6
  tcp_health_check {
    port = 8080
  }
}
""",
    },
    good={
        "lb.tf": """\
resource "google_compute_backend_service" "web" {
  name                            = "web"
  connection_draining_timeout_sec = 460
  health_checks                   = [google_compute_health_check.ready.id]
}

resource "google_compute_health_check" "ready" {
  name                = "ready"
  check_interval_sec  = 10
  timeout_sec         = 5
  unhealthy_threshold = 6
  http_health_check {
    port = 8080
  }
}
""",
    },
    fix="Check a readiness path by HTTP.",
    check=check,
    lab=GOOGLE_CLOUD,
)
