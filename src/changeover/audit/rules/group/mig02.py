"""MIG02: the API refuses the surge of a group."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.groups import zones
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for manager in view.google.of("instanceGroupManager"):
        size = manager.body.number("targetSize")
        for limit in ("maxSurge", "maxUnavailable"):
            fixed = manager.body.number("updatePolicy", limit, "fixed")
            percent = manager.body.number("updatePolicy", limit, "percent")
            kind = "fixed" if fixed is not None else "percent"
            path = ("updatePolicy", limit, kind)
            if fixed is None and percent is None:
                for kind in ("fixed", "percent"):
                    if (value := manager.is_open("updatePolicy", limit, kind)) is not None:
                        key = manager.key(("updatePolicy", limit, kind))
                        missing = value.missing or f"the value of {key}"
                        yield unknown(value.place, manager.object, f"{key} = {value.expression[:60]}", missing)
                continue  # a default is never refused
            where, key = manager.at(*path), manager.key(path)
            what = ""
            if fixed is not None and manager.regional and 0 < fixed < zones(manager):
                what = f"{key} {fixed:g} is neither 0 nor at least the number of zones, {zones(manager)}"
            if fixed is None and percent and size is None:
                missing = "the size of the group: a percentage needs at least 10"
                yield unknown(where, manager.object, f"{key} {percent:g}", missing)
                continue
            if fixed is None and percent and size is not None and size < 10:
                what = f"{key} {percent:g} needs a size of at least 10, and it is {size:g}"
            if not what:
                yield met(where, manager.object, f"{key} {fixed if fixed is not None else percent:g}")
            else:
                yield violated(
                    where,
                    manager.object,
                    what,
                    get=Effect.OK,
                    post=Effect.OK,
                    consequence="no request is cut; the API refuses the update",
                    fix=f"{manager.with_value(('updatePolicy', limit, 'fixed'), f'{zones(manager)}')}, or 0",
                )


RULE = Rule(
    id="MIG02",
    name="group-surge-refused",
    severity=Severity.WARNING,
    what="A limit of a group's update policy is one that the API refuses.",
    why="In a regional group a fixed limit must be 0 or at least the number of zones; a percentage needs a size of"
    " at least 10. The update is refused when it is applied, in the middle of a release.",
    sources=(
        "https://cloud.google.com/compute/docs/instance-groups/rolling-out-updates-to-managed-instance-groups#max_surge",
    ),
    bad={
        "mig.tf": """\
resource "google_compute_region_instance_group_manager" "app" {
  name        = "app"
  target_size = 12
  update_policy {
    type                         = "PROACTIVE"
    minimal_action               = "REPLACE"
    # expect: MIG02
    max_surge_fixed              = 1
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
    fix="Set a fixed number of at least the number of zones.",
    check=check,
    lab=GOOGLE_CLOUD,
)
