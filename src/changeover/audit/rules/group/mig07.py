"""MIG07: autohealing replaces instances that are still starting."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.facts import check_times, time_to_healthy
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for manager in view.google.of("instanceGroupManager"):
        if not manager.body.maps("autoHealingPolicies"):
            continue  # MIG05
        found = manager.number(("autoHealingPolicies", "initialDelaySec"), 0.0, "0")
        times = check_times(view.google, [manager], ("autoHealingPolicies", "healthCheck"), time_to_healthy)
        need = asked.boot + max((one for one in times if one is not None), default=10.0)
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
                f"{found.text}: an instance needs {words.span(need)} to start and to be healthy",
                get=Effect.ERROR,
                post=Effect.ERROR,
                consequence="new instances are replaced before they serve: a GET and a POST find fewer instances",
                fix=manager.with_value(("autoHealingPolicies", "initialDelaySec"), f"{need * 1.5:.0f}"),
                numbers={"delay_seconds": found.value, "needed_seconds": need},
                replacement=found.replaced_by(need * 1.5),
            )


RULE = Rule(
    id="MIG07",
    name="group-heals-too-early",
    severity=Severity.ERROR,
    what="`initialDelaySec` of a group is shorter than an instance takes to start.",
    why="Autohealing then recreates a new instance before it could answer, again and again, and the rollout never "
    "ends. The delay is 0 unless set.",
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
    # expect: MIG07
    initial_delay_sec = 5
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
resource "google_compute_health_check" "live" {
  name               = "live"
  check_interval_sec = 10
  http_health_check {
    port = 8080
  }
}
""",
    },
    fix="Set `initial_delay_sec` to one and a half times the measured start.",
    check=check,
    lab=GOOGLE_CLOUD,
)
