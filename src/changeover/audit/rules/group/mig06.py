"""MIG06: a rollout goes on before the load balancer uses a new instance."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.facts import SPREAD, check_times, time_to_healthy
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for manager in view.google.of("instanceGroupManager"):
        path = ("updatePolicy", "minReadySec")
        if manager.body.text("updatePolicy", "type") == "OPPORTUNISTIC":
            yield met(manager.at("updatePolicy", "type"), manager.object, "the group replaces nothing by itself")
            continue
        if manager.origin == "api" and manager.body.number(*path) is None:
            missing = "the answer of `gcloud beta … describe`: v1 does not show minReadySec"
            yield unknown(manager.at(*path), manager.object, "minReadySec is not in the answer", missing)
            continue
        found = manager.number(path, 0.0, "0")
        times = check_times(view.google, view.google.services(manager), ("healthChecks",), time_to_healthy)
        need = max((one for one in times if one is not None), default=10.0) + SPREAD
        if found.value is None:
            yield unknown(found.place, manager.object, found.text, found.missing)
        elif found.value >= need and None in times:
            missing = "the interval and the threshold of the health check, as numbers"
            yield unknown(found.place, manager.object, f"{found.text}, and the check takes a time unknown", missing)
        elif found.value >= need:
            yield met(found.place, manager.object, found.text, {"margin_seconds": found.value - need})
        else:
            yield violated(
                found.place,
                manager.object,
                f"{found.text}: the load balancer needs {words.span(need)} to use a new instance",
                get=Effect.ERROR,
                post=Effect.ERROR,
                consequence="during a rollout the load balancer may know no healthy instance: a GET and a POST get 503",
                fix=f"{manager.with_value(path, f'{need:.0f}')} and the time of the warm-up",
                numbers={"min_ready_seconds": found.value, "needed_seconds": need},
                replacement=found.replaced_by(need),
            )


RULE = Rule(
    id="MIG06",
    name="group-without-ready-time",
    severity=Severity.ERROR,
    what="`minReadySec` of a group is shorter than the load balancer needs to find a new instance healthy, and it "
    "replaces instances by itself.",
    why="The updater looks at the machine and at autohealing, never at the load balancer. Without a time in "
    "between it deletes old instances while the load balancer still probes the new ones. The key is in the "
    "beta API alone: an answer of v1 does not show it.",
    sources=(
        "https://cloud.google.com/compute/docs/instance-groups/rolling-out-updates-to-managed-instance-groups#min_ready",
        "https://cloud.google.com/sdk/gcloud/reference/beta/compute/instance-groups/managed/rolling-action/start-update",
    ),
    bad={
        "mig.tf": """\
resource "google_compute_region_instance_group_manager" "app" {
  name        = "app"
  target_size = 12
  # expect: MIG06
  update_policy {
    type                         = "PROACTIVE"
    minimal_action               = "REPLACE"
    max_surge_fixed              = 3
    max_unavailable_fixed        = 0
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
    min_ready_sec                = 60
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
""",
    },
    fix="Set `min_ready_sec` (provider google-beta) to the time of the health check, ten seconds and the warm-up.",
    check=check,
    lab=GOOGLE_CLOUD,
)
