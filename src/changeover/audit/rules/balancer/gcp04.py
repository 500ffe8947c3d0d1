"""GCP04: a kind of backend that connection draining does not cover."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    pools = [(pool, "a target pool") for pool in view.google.of("targetPool")]
    for group in view.google.of("networkEndpointGroup"):
        kind = group.word(("networkEndpointType",), "GCE_VM_IP_PORT", "GCE_VM_IP_PORT")
        if kind.value is None:
            yield unknown(kind.place, group.object, kind.text, kind.missing)
        elif kind.value.startswith(("INTERNET", "SERVERLESS", "PRIVATE_SERVICE")):
            pools.append((group, kind.text))
        else:
            yield met(kind.place, group.object, kind.text)
    for resource, what in pools:
        yield violated(
            resource.place,
            resource.object,
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
