"""MIG11: a regional group moves instances between zones by itself."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.groups import scaled
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for manager in view.google.of("instanceGroupManager"):
        found = manager.word(("updatePolicy", "instanceRedistributionType"), "PROACTIVE", "PROACTIVE")
        if found.value is None:
            yield unknown(found.place, manager.object, found.text, found.missing)
        elif found.value != "PROACTIVE" or not manager.regional or scaled(view.google, manager):
            yield met(found.place, manager.object, found.text)
        else:
            yield violated(
                found.place,
                manager.object,
                f"{found.text}: more instances leave than the rollout plans",
                get=Effect.OK,
                post=Effect.OK,
                consequence="a GET survives, and a POST if the drain is long enough",
                fix=manager.with_value(("updatePolicy", "instanceRedistributionType"), "NONE"),
            )


RULE = Rule(
    id="MIG11",
    name="group-redistributes-in-a-rollout",
    severity=Severity.NOTE,
    what="A regional group redistributes its instances between zones by itself.",
    why="Redistribution deletes and creates instances beside those of the rollout, which the plan of the rollout "
    "does not count.",
    sources=(
        "https://cloud.google.com/compute/docs/instance-groups/distributing-instances-with-regional-instance-groups#proactive_redistribution",
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
    # expect: MIG11
    instance_redistribution_type = "PROACTIVE"
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
    instance_redistribution_type = "NONE"
  }
}
""",
    },
    fix="instance_redistribution_type NONE for a group without an autoscaler",
    check=check,
    lab=GOOGLE_CLOUD,
)
