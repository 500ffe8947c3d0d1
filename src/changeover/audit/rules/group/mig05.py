"""MIG05: a group does not notice that new instances fail."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for manager in view.google.of("instanceGroupManager"):
        where = manager.at("autoHealingPolicies")
        if (expression := manager.is_open("autoHealingPolicies", "forEach")) is not None:
            yield unknown(
                where, manager.object, "autoHealingPolicies cannot be read", expression.missing or expression.expression
            )
        elif manager.body.maps("autoHealingPolicies"):
            yield met(where, manager.object, "it has an autohealing policy")
        else:
            yield violated(
                where,
                manager.object,
                "it has no autohealing policy: a new instance counts as soon as its machine runs",
                get=Effect.ERROR,
                post=Effect.ERROR,
                consequence="a rollout of a broken template goes on to its end: every GET and POST fails",
                fix="auto_healing_policies with a health check and an initial_delay_sec",
            )


RULE = Rule(
    id="MIG05",
    name="group-without-autohealing",
    severity=Severity.ERROR,
    what="A group has no autohealing policy.",
    why="Without one an instance counts as available as soon as the machine runs, whatever the application does. A"
    " rollout then replaces every working instance by one that answers nothing.",
    sources=("https://cloud.google.com/compute/docs/instance-groups/autohealing-instances-in-migs",),
    bad={
        "mig.tf": """\
# expect: MIG05
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
""",
    },
    fix="Add an autohealing policy with a check that is as strict as readiness while an instance starts.",
    check=check,
    lab=GOOGLE_CLOUD,
)
