"""MIG03: a group recreates instances under their names."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for manager in view.google.of("instanceGroupManager"):
        found = manager.word(("updatePolicy", "replacementMethod"), "SUBSTITUTE", "SUBSTITUTE")
        if found.value is None:
            yield unknown(found.place, manager.object, found.text, found.missing)
        elif found.value != "RECREATE":
            yield met(found.place, manager.object, found.text)
        else:
            yield violated(
                found.place,
                manager.object,
                f"{found.text}: an instance is gone before its successor exists",
                get=Effect.ERROR,
                post=Effect.ERROR,
                consequence="during a rollout fewer instances serve: a GET or a POST may find none with capacity",
                fix=manager.with_value(("updatePolicy", "replacementMethod"), "SUBSTITUTE"),
                replacement=found.replaced("SUBSTITUTE"),
            )


RULE = Rule(
    id="MIG03",
    name="group-recreates",
    severity=Severity.ERROR,
    what="The replacement method of a group is RECREATE.",
    why="RECREATE keeps the name of an instance, so the old one must be gone before the new one exists; the API "
    "insists on a surge of 0 with it.",
    sources=(
        "https://cloud.google.com/compute/docs/instance-groups/rolling-out-updates-to-managed-instance-groups#replacement_method",
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
    # expect: MIG03
    replacement_method           = "RECREATE"
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
    replacement_method           = "SUBSTITUTE"
  }
}
""",
    },
    fix="replacement_method SUBSTITUTE",
    check=check,
    lab=GOOGLE_CLOUD,
)
