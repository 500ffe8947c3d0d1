"""MIG13: a rollout takes longer than its window."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.facts import check_times, drain, time_to_healthy
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View

DELETION = 150.0
"""Seconds until a drained machine is gone: the end of the drain, the shutdown and the deletion."""


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for manager in view.google.of("instanceGroupManager"):
        path = ("updatePolicy", "maxSurge", "fixed")
        surge, size = manager.body.number(*path), manager.body.number("targetSize")
        where = manager.at(*path)
        if asked.window is None or not surge or size is None:
            missing = "its size, a fixed maxSurge, and the window: `--assume window=2h`"
            yield unknown(where, manager.object, "the time of a rollout cannot be computed", missing)
            continue
        checks = check_times(view.google, view.google.services(manager), ("healthChecks",), time_to_healthy)
        drains = [drain(service).value for service in view.google.services(manager)]
        ready = manager.number(("updatePolicy", "minReadySec"), 0.0, "0").value
        longest = max((one or 0.0 for one in checks), default=10.0), max((one or 0.0 for one in drains), default=0.0)
        wave = asked.boot + sum(longest) + (ready or 0.0) + DELETION
        total = ceil(size / surge) * wave
        text = f"{ceil(size / surge)} waves of {words.span(wave)} take {words.span(total)}"
        if total <= asked.window and None in (*checks, *drains, ready):
            missing = "the drain, minReadySec and the times of the health checks, as numbers"
            yield unknown(where, manager.object, f"{text} or more", missing)
        elif total <= asked.window:
            yield met(where, manager.object, text, {"margin_seconds": asked.window - total})
        else:
            enough = str(ceil(size / max(asked.window // wave, 1)))
            yield violated(
                where,
                manager.object,
                f"{text}, and the window is {words.span(asked.window)}",
                get=Effect.OK,
                post=Effect.OK,
                consequence="no request is cut; the rollout is unfinished when its window ends",
                fix=manager.with_value(path, enough),
                replacement=manager.number(path, 0.0, "0").replaced(enough),
                numbers={"waves": ceil(size / surge), "wave_seconds": wave, "window_seconds": asked.window},
            )


RULE = Rule(
    id="MIG13",
    name="group-rollout-exceeds-window",
    severity=Severity.NOTE,
    what="A rollout of a group takes longer than the window for it.",
    why="Each wave takes the start of a machine, its health check, the ready time, the draining and the deletion, "
    "about two and a half minutes besides. A long drain with a small surge makes days.",
    sources=("https://cloud.google.com/compute/docs/instance-groups/rolling-out-updates-to-managed-instance-groups",),
    bad={
        "mig.tf": """\
resource "google_compute_region_instance_group_manager" "app" {
  name        = "app"
  target_size = 12
  update_policy {
    type                         = "PROACTIVE"
    minimal_action               = "REPLACE"
    # expect: MIG13
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
  check_interval_sec  = 10
  timeout_sec         = 5
  unhealthy_threshold = 6
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
    max_surge_fixed              = 12
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
  check_interval_sec  = 10
  timeout_sec         = 5
  unhealthy_threshold = 6
  http_health_check {
    port = 8080
  }
}
""",
    },
    fix="Raise the surge, or the window.",
    check=check,
    lab=GOOGLE_CLOUD,
    assume={"window": "30m"},
)
