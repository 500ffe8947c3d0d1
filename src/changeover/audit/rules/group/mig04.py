"""MIG04: a group restarts instances in place."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for manager in view.google.of("instanceGroupManager"):
        found = manager.word(("updatePolicy", "minimalAction"), "REPLACE", "REPLACE")
        if found.value is None:
            yield unknown(found.place, manager.object, found.text, found.missing)
        elif found.value not in {"RESTART", "REFRESH"}:
            yield met(found.place, manager.object, found.text)
        else:
            yield violated(
                found.place,
                manager.object,
                f"{found.text}: the serving instance is changed in place",
                get=Effect.CUT,
                post=Effect.CUT,
                consequence="a GET and a POST in flight are cut by the restart of their instance",
                fix=manager.with_value(("updatePolicy", "minimalAction"), "REPLACE"),
                replacement=found.replaced("REPLACE"),
            )


RULE = Rule(
    id="MIG04",
    name="group-restarts-in-place",
    severity=Severity.ERROR,
    what="The minimal action of a group's updates is RESTART or REFRESH.",
    why="An update then restarts or changes the instance that serves. Nothing drains it first as a replacement would.",
    sources=(
        "https://cloud.google.com/compute/docs/instance-groups/rolling-out-updates-to-managed-instance-groups#minimal_action",
    ),
    bad={
        "mig.tf": """\
resource "google_compute_region_instance_group_manager" "app" {
  name        = "app"
  target_size = 12
  update_policy {
    type                         = "PROACTIVE"
    # expect: MIG04
    minimal_action               = "RESTART"
    max_surge_fixed              = 3
    max_unavailable_fixed        = 0
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
}
""",
    },
    fix="minimal_action REPLACE",
    check=check,
    lab=GOOGLE_CLOUD,
)
