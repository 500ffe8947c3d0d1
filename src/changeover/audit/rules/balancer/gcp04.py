"""GCP04: a kind of backend that connection draining does not cover."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.facts import endpoint_type, is_drained
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View
from changeover.conf.tree import Open


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    found = [(pool.place, pool.object, "a target pool") for pool in view.google.of("targetPool")]
    for group in view.google.of("networkEndpointGroup"):
        kind = endpoint_type(group)
        if kind.value is None:
            yield unknown(kind.place, group.object, kind.text, kind.missing)
        elif is_drained(kind.value):
            yield met(kind.place, group.object, kind.text)
        else:
            found.append((group.place, group.object, kind.text))
    for manager in view.google.of("instanceGroupManager"):
        where, pools = manager.at("targetPools"), manager.body.get("targetPools")
        lost = [one for one in manager.body.each("targetPools") if view.google.referred(one, "targetPool") is None]
        if isinstance(pools, Open) or any(isinstance(one, Open) for one in lost):
            yield unknown(where, manager.object, "whether it is in a target pool is not known", "its target pools")
        elif lost:
            found.append((where, manager.object, "its target pool"))
    for place, name, what in found:
        yield violated(
            place,
            name,
            f"{what} has no connection draining",
            get=Effect.CUT,
            post=Effect.CUT,
            consequence="a GET and a POST in flight are cut as soon as their instance begins to leave",
            fix="a backend service with an instance group or a zonal network endpoint group",
        )


RULE = Rule(
    id="GCP04",
    name="google-backend-without-draining",
    severity=Severity.ERROR,
    what="A target pool, or a network endpoint group that connection draining does not cover.",
    why="Connection draining applies to instance groups and zonal and hybrid network endpoint groups. Target pools"
    " and internet or serverless endpoints have none, so a replaced instance is cut off at once.",
    sources=("https://cloud.google.com/load-balancing/docs/enabling-connection-draining",),
    bad={
        "lb.tf": """\
# expect: GCP04
resource "google_compute_target_pool" "web" {
  name = "web"
}
""",
    },
    good={
        "lb.tf": """\
resource "google_compute_network_endpoint_group" "web" {
  name                  = "web"
  network_endpoint_type = "GCE_VM_IP_PORT"
}
""",
    },
    fix="Use a backend service with a managed instance group or a zonal network endpoint group.",
    check=check,
    lab=GOOGLE_CLOUD,
)
