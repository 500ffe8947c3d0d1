"""MIG08: autohealing and the load balancer use the same health check."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.facts import balancer_checks
from changeover.audit.google.resources import Resource
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View
from changeover.conf.place import Place
from changeover.conf.tree import Word


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for manager in view.google.of("instanceGroupManager"):
        path = ("autoHealingPolicies", "healthCheck")
        if not manager.body.maps("autoHealingPolicies"):
            continue  # MIG05
        own, others = view.google.checks(manager, *path), balancer_checks(view.google, manager)
        where = manager.at(*path)
        services = view.google.services(manager)
        same = _names(manager, *path) & {name for one in services for name in _names(one, "healthChecks")}
        if same:
            yield _violated(manager, where, sorted(same)[0])
        elif not others or not own:
            missing = "the backend service of this group and both health checks"
            yield unknown(where, manager.object, "the health checks cannot be compared", missing)
        elif not [one for one in own if one in others]:
            yield met(where, manager.object, f"autohealing has a check of its own, {own[0].name or own[0].address}")
        else:
            yield _violated(manager, where, own[0].name or own[0].address)


def _names(holder: Resource, *path: str) -> set[str]:
    """The references to health checks, which name the same one even if no given file describes it."""
    found = holder.body.get(*path)
    nodes = (found,) if isinstance(found, Word) else found.each() if found is not None else ()
    return {one.word for one in nodes if isinstance(one, Word) and one.word}


def _violated(manager: Resource, where: Place, name: str) -> Finding:
    return violated(
        where,
        manager.object,
        f"autohealing uses {name}, the check of the load balancer",
        get=Effect.CUT,
        post=Effect.CUT,
        consequence="a GET and a POST in flight are cut when an instance that reports itself unready is recreated",
        fix="a health check for autohealing alone, on a path that says whether the process lives",
    )


RULE = Rule(
    id="MIG08",
    name="group-heals-by-readiness",
    severity=Severity.ERROR,
    what="Autohealing of a group uses the readiness check of the load balancer.",
    why="An instance that reports itself unready, to drain or because a backend is down, is then not only left "
    "out: autohealing recreates it, without draining.",
    sources=(
        "https://cloud.google.com/compute/docs/instance-groups/autohealing-instances-in-migs#health_checking_policy",
    ),
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
    # expect: MIG08
    health_check      = google_compute_health_check.ready.id
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
  unhealthy_threshold = 6
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
    fix="Give autohealing a check of its own, which asks whether the process lives.",
    check=check,
    lab=GOOGLE_CLOUD,
)
