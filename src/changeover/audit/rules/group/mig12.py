"""MIG12: a canary rounds to no instance."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View
from changeover.conf.place import Place
from changeover.conf.tree import Map


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for manager in view.google.of("instanceGroupManager"):
        versions = manager.body.maps("versions")
        if len(versions) < 2:
            continue  # no canary
        size_key = manager.key(("versions", "targetSize"))
        size = manager.body.number("targetSize")
        if all(one.get("targetSize") is not None for one in versions):
            what = "every version has a target size: none takes the rest"
            yield _wrong(manager.at("versions"), manager.object, what, f"no {size_key} for one of them")
            continue
        for version in versions:
            if not isinstance(target := version.get("targetSize"), Map):
                continue
            fixed, percent = target.number("fixed"), target.number("percent")
            where = next(iter(target.keys.values()), target.place)
            if fixed is None and (percent is None or size is None):
                missing = "the size of the group and of the version, as numbers"
                yield unknown(where, manager.object, "the size of the canary cannot be computed", missing)
            elif (count := fixed if fixed is not None else round((percent or 0) * (size or 0) / 100)) >= 1:
                yield met(where, manager.object, f"the canary has {count:g} instances")
            else:
                of = f"{percent:g} % of {size:g}" if fixed is None else f"{fixed:g}"
                fix = "fixed = 1" if manager.origin in {"terraform", "plan"} else "fixed: 1"
                yield _wrong(where, manager.object, f"{of} is a canary of no instance", fix)


def _wrong(place: Place, object: str, what: str, fix: str) -> Finding:
    return violated(
        place,
        object,
        what,
        get=Effect.OK,
        post=Effect.OK,
        consequence="no request is cut; the canary proves nothing",
        fix=fix,
    )


RULE = Rule(
    id="MIG12",
    name="group-canary-of-nothing",
    severity=Severity.WARNING,
    what="The versions of a group give a canary of no instance, or leave instances without a version.",
    why="A percentage of a small group rounds to 0: the canary passes without a request. One version must have no "
    "target size: it takes the rest.",
    sources=(
        "https://cloud.google.com/compute/docs/instance-groups/rolling-out-updates-to-managed-instance-groups#starting_a_canary_update",
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
  version {
    name              = "stable"
    instance_template = "v1"
  }
  version {
    name              = "canary"
    instance_template = "v2"
    target_size {
      # expect: MIG12
      percent = 4
    }
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
  version {
    name              = "stable"
    instance_template = "v1"
  }
  version {
    name              = "canary"
    instance_template = "v2"
    target_size {
      fixed = 1
    }
  }
}
""",
    },
    fix="Give the canary a fixed size of at least 1.",
    check=check,
    lab=GOOGLE_CLOUD,
)
