"""MIG01: a rollout takes instances away before their successors serve."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.groups import unavailable
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for module in view.google.lost_groups():
        missing = "the files of the module; or `terraform show -json` of a plan"
        yield unknown(
            module.at("source"), module.object, "how many instances its updates take away is not known", missing
        )
    for manager in view.google.of("instanceGroupManager"):
        found = unavailable(manager)
        if found.value is None:
            yield unknown(found.place, manager.object, found.text, found.missing)
        elif found.value == 0:
            yield met(found.place, manager.object, found.text)
        else:
            yield violated(
                found.place,
                manager.object,
                f"{found.text}: old instances go before new ones serve",
                get=Effect.ERROR,
                post=Effect.ERROR,
                consequence="during a rollout fewer instances serve: a GET or a POST may find none with capacity",
                fix=f"{manager.with_value(('updatePolicy', 'maxUnavailable', 'fixed'), '0')} with "
                f"{manager.key(('updatePolicy', 'maxSurge', 'fixed'))} of the number of zones",
                numbers={"unavailable": found.value},
            )


RULE = Rule(
    id="MIG01",
    name="group-takes-instances-away",
    severity=Severity.ERROR,
    what="`maxUnavailable` of a group is more than 0.",
    why="A group then deletes old instances before new ones serve. Both limits are the number of zones unless set:"
    " a regional group of three machines may lose all three at once.",
    sources=(
        "https://cloud.google.com/compute/docs/instance-groups/rolling-out-updates-to-managed-instance-groups#max_unavailable",
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
    # expect: MIG01
    max_unavailable_fixed        = 3
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
    fix="Set `max_unavailable_fixed = 0` and `max_surge_fixed` to the number of zones.",
    check=check,
    lab=GOOGLE_CLOUD,
)
