"""MIG09: autohealing acts before the load balancer has drained an instance."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.facts import check_times, time_to_unhealthy
from changeover.audit.google.resources import Resource
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View

MOST_FAILURES = 10
"""The limit of unhealthyThreshold."""


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for manager in view.google.of("instanceGroupManager"):
        if not manager.body.maps("autoHealingPolicies"):
            continue  # MIG05
        own = view.google.checks(manager, "autoHealingPolicies", "healthCheck")
        balancer = check_times(view.google, view.google.services(manager), ("healthChecks",), time_to_unhealthy)
        times = [one for one in balancer if one is not None]
        interval = own[0].number(("checkIntervalSec",), 5.0, "5").value if own else None
        threshold = own[0].number(("unhealthyThreshold",), 2.0, "2").value if own else None
        healing = interval * threshold if interval is not None and threshold is not None else None
        late = healing is not None and bool(times) and healing >= 3 * max(times)
        if healing is None or not times or (late and None in balancer):
            missing = "the health checks of autohealing and of the backend service in front"
            yield unknown(manager.at("autoHealingPolicies"), manager.object, "their times cannot be compared", missing)
        elif late:
            yield met(own[0].place, own[0].object, f"autohealing acts after {words.span(healing)}")
        else:
            yield violated(
                own[0].place,
                own[0].object,
                f"autohealing acts after {words.span(healing)}, the load balancer after {words.span(max(times))}",
                get=Effect.CUT,
                post=Effect.CUT,
                consequence="a GET and a POST in flight are cut when an instance that failed for a moment is recreated",
                fix=_fix(own[0], interval or 5.0, 3 * max(times)),
                numbers={"healing_seconds": healing, "balancer_seconds": max(times)},
            )


def _fix(check: Resource, interval: float, least: float) -> str:
    """A threshold that takes that long, in seconds; with a longer interval where it would be above its limit."""
    threshold = min(ceil(least / interval), MOST_FAILURES)
    enough = check.with_value(("unhealthyThreshold",), str(threshold))
    if threshold * interval >= least:
        return enough
    return f"{enough} with {check.with_value(('checkIntervalSec',), str(ceil(least / threshold)))}"


RULE = Rule(
    id="MIG09",
    name="group-heals-too-fast",
    severity=Severity.WARNING,
    what="Autohealing replaces an instance soon after the load balancer has found it unhealthy.",
    why="An instance that fails for a moment should be left out first and replaced last. Autohealing ends "
    "connections without draining.",
    sources=("https://cloud.google.com/compute/docs/instance-groups/autohealing-instances-in-migs",),
    bad={
        "mig.tf": """\
resource "google_compute_region_instance_group_manager" "app" {
  name        = "app"
  target_size = 12
  update_policy {
    type                         = "PROACTIVE"
    minimal_action               = "REPLACE"
    max_surge_fixed              = 3
    max_unavailable_fixed        = 0
  }
  auto_healing_policies {
    health_check      = google_compute_health_check.live.id
    initial_delay_sec = 300
  }
}

resource "google_compute_backend_service" "web" {
  name                            = "web"
  connection_draining_timeout_sec = 460
  health_checks                   = [google_compute_health_check.ready.id]
  backend { group = google_compute_region_instance_group_manager.app.instance_group }
}

resource "google_compute_health_check" "ready" {
  name                = "ready"
  check_interval_sec  = 10
  timeout_sec         = 5
  unhealthy_threshold = 3
  http_health_check {
    port = 8080
  }
}

# expect: MIG09
resource "google_compute_health_check" "live" {
  name                = "live"
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
        "mig.tf": """\
resource "google_compute_region_instance_group_manager" "app" {
  name        = "app"
  target_size = 12
  update_policy {
    type                         = "PROACTIVE"
    minimal_action               = "REPLACE"
    max_surge_fixed              = 3
    max_unavailable_fixed        = 0
  }
  auto_healing_policies {
    health_check      = google_compute_health_check.live.id
    initial_delay_sec = 300
  }
}

resource "google_compute_backend_service" "web" {
  name                            = "web"
  connection_draining_timeout_sec = 460
  health_checks                   = [google_compute_health_check.ready.id]
  backend { group = google_compute_region_instance_group_manager.app.instance_group }
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

resource "google_compute_health_check" "live" {
  name                = "live"
  check_interval_sec  = 10
  timeout_sec         = 5
  unhealthy_threshold = 6
  http_health_check {
    port = 8080
  }
}
""",
    },
    fix="Let autohealing take three times as long as the load balancer.",
    check=check,
    lab=GOOGLE_CLOUD,
)
