"""HC02: an instance closes its port before the load balancer leaves it out."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.facts import SPREAD, time_to_unhealthy
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for service in view.google.of("backendService"):
        if missing := view.google.lost_checks(service, "healthChecks"):
            yield unknown(
                service.at("healthChecks"), service.object, "the wait of a stopping instance is not known", missing
            )
        for health in view.google.checks(service, "healthChecks"):
            time = time_to_unhealthy(health)
            if time is None or asked.prestop_wait is None:
                missing = "numbers in the health check, and `--assume prestop-wait=30s`"
                yield unknown(health.place, health.object, "the wait of a stopping instance is not known", missing)
            elif asked.prestop_wait >= time + SPREAD:
                yield met(health.place, health.object, f"unhealthy after {words.span(time)}")
            else:
                yield violated(
                    health.place,
                    health.object,
                    f"unhealthy after {words.span(time)} and {words.span(SPREAD)} to spread, and a stopping instance "
                    f"waits {words.span(asked.prestop_wait)}",
                    get=Effect.ERROR,
                    post=Effect.ERROR,
                    consequence="a GET and a POST are sent to an instance that has closed its port",
                    fix=f"a wait of {time + SPREAD:.0f} s before the listener closes",
                    numbers={"wait_seconds": asked.prestop_wait, "needed_seconds": time + SPREAD},
                )


RULE = Rule(
    id="HC02",
    name="instance-closes-before-it-is-left-out",
    severity=Severity.ERROR,
    what="An instance that stops waits less than the load balancer needs to find it unhealthy.",
    why="On a stop without draining, the instance must answer as unready, and go on serving, until every proxy of "
    "the load balancer has noticed: interval times threshold, the timeout, and ten seconds.",
    sources=("https://cloud.google.com/load-balancing/docs/health-check-concepts",),
    bad={
        "lb.tf": """\
resource "google_compute_backend_service" "web" {
  name                            = "web"
  connection_draining_timeout_sec = 460
  health_checks                   = [google_compute_health_check.ready.id]
}

# expect: HC02
resource "google_compute_health_check" "ready" {
  name                = "ready"
  check_interval_sec  = 10
  timeout_sec         = 5
  unhealthy_threshold = 3
  http_health_check {
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
  check_interval_sec  = 5
  timeout_sec         = 5
  unhealthy_threshold = 2
  http_health_check {
    port = 8080
  }
}
""",
    },
    fix="Wait longer between unready and the end of the listener, or check more often. The wait is one of the program, "
    "or of its stop command: the file with the health check does not have it.",
    check=check,
    lab=GOOGLE_CLOUD,
    assume={"prestop-wait": "30s"},
)
