"""GCP05: services that share a group have different drains."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.facts import DRAINING, drain
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for manager in view.google.of("instanceGroupManager"):
        found = [(service, drain(service)) for service in view.google.services(manager)]
        if len(found) < 2:
            continue
        longest = max((one.value or 0.0) for _, one in found)
        for service, own in found:
            if own.value is None:
                yield unknown(own.place, service.object, own.text, own.missing)
            elif own.value == longest:
                yield met(own.place, service.object, f"{own.text}: the longest of its group")
            else:
                yield violated(
                    own.place,
                    service.object,
                    f"{own.text}, and instances drain for {words.span(longest)} because of another service",
                    get=Effect.OK,
                    post=Effect.OK,
                    consequence="no request is cut; each replacement takes as long as the longest draining",
                    fix=service.with_value(DRAINING, f"{longest:.0f}"),
                    numbers={"drain_seconds": own.value, "effective_seconds": longest},
                )


RULE = Rule(
    id="GCP05",
    name="google-shared-group-draining",
    severity=Severity.NOTE,
    what="Backend services share a group and differ in their draining: the longest one holds for all.",
    why="An instance of a group that several services use is drained for the longest of their times, so a rollout "
    "takes longer than this service says.",
    sources=("https://cloud.google.com/load-balancing/docs/enabling-connection-draining",),
    bad={
        "lb.tf": """\
resource "google_compute_region_instance_group_manager" "app" {
  name = "app"
}
resource "google_compute_backend_service" "web" {
  name                            = "web"
  # expect: GCP05
  connection_draining_timeout_sec = 460
  backend { group = google_compute_region_instance_group_manager.app.instance_group }
}
resource "google_compute_backend_service" "api" {
  name                            = "api"
  connection_draining_timeout_sec = 900
  backend { group = google_compute_region_instance_group_manager.app.instance_group }
}
""",
    },
    good={
        "lb.tf": """\
resource "google_compute_region_instance_group_manager" "app" {
  name = "app"
}
resource "google_compute_backend_service" "web" {
  name                            = "web"
  connection_draining_timeout_sec = 900
  backend { group = google_compute_region_instance_group_manager.app.instance_group }
}
resource "google_compute_backend_service" "api" {
  name                            = "api"
  connection_draining_timeout_sec = 900
  backend { group = google_compute_region_instance_group_manager.app.instance_group }
}
""",
    },
    fix="Give all services of a group the same draining.",
    check=check,
    lab=GOOGLE_CLOUD,
)
