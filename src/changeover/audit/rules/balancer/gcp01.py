"""GCP01: connection draining of a backend service is off."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.facts import DRAINING, drain, drained_services
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for module in view.google.lost_balancers():
        missing = "the files of the module; or `terraform show -json` of a plan"
        yield unknown(module.at("source"), module.object, "the draining of its backend services is not known", missing)
    for service in drained_services(view.google):
        found = drain(service)
        if found.value is None:
            yield unknown(found.place, service.object, found.text, found.missing)
        elif found.value > 0:
            yield met(found.place, service.object, found.text, {"drain_seconds": found.value})
        else:
            yield violated(
                service.at(*DRAINING),
                service.object,
                f"{found.text}: connections are dropped as soon as an instance leaves",
                get=Effect.CUT,
                post=Effect.CUT,
                consequence="a GET and a POST in flight are cut as soon as their instance begins to leave",
                fix=service.with_value(DRAINING, f"{min(asked.request_seconds + 30, 3600):.0f}"),
                numbers={"drain_seconds": 0.0, "request_seconds": asked.request_seconds},
                replacement=found.replaced_by(min(asked.request_seconds + 30, 3600)),
            )


RULE = Rule(
    id="GCP01",
    name="google-no-draining",
    severity=Severity.ERROR,
    what="Connection draining of a backend service is off.",
    why="Without draining, the load balancer drops the connections of an instance as soon as it leaves its group. "
    "The API and gcloud have no draining unless it is set; Terraform sends 300 seconds, for services of a "
    "region from provider 6.0.0 on.",
    sources=(
        "https://cloud.google.com/load-balancing/docs/enabling-connection-draining",
        "https://registry.terraform.io/providers/hashicorp/google/latest/docs/guides/version_6_upgrade",
    ),
    bad={
        "lb.tf": """\
resource "google_compute_backend_service" "web" {
  name = "web"
  # expect: GCP01
  connection_draining_timeout_sec = 0
}
""",
    },
    good={
        "lb.tf": """\
resource "google_compute_backend_service" "web" {
  name = "web"
  connection_draining_timeout_sec = 460
}
""",
    },
    fix="Set `connection_draining_timeout_sec` to the longest request and 30 seconds more.",
    check=check,
    lab=GOOGLE_CLOUD,
)
