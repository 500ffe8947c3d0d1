"""GCP10: a failover does not drain."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for service in view.google.of("backendService"):
        if service.body.get("failoverPolicy") is None:
            continue
        found = service.flag(("failoverPolicy", "disableConnectionDrainOnFailover"), False, "false")
        if found.value is None:
            yield unknown(found.place, service.object, found.text, found.missing)
        elif not found.value:
            yield met(found.place, service.object, found.text)
        else:
            yield violated(
                found.place,
                service.object,
                found.text,
                get=Effect.CUT,
                post=Effect.CUT,
                consequence="a GET and a POST in flight are cut when the backup group takes over",
                fix=service.with_value(("failoverPolicy", "disableConnectionDrainOnFailover"), "false"),
                replacement=found.replaced("false"),
            )


RULE = Rule(
    id="GCP10",
    name="google-no-drain-on-failover",
    severity=Severity.ERROR,
    what="`disableConnectionDrainOnFailover` is true.",
    why="A failover to the backup group then ends connections at once instead of letting them finish.",
    sources=("https://cloud.google.com/load-balancing/docs/internal/failover-overview",),
    bad={
        "lb.tf": """\
resource "google_compute_region_backend_service" "l4" {
  name                  = "l4"
  protocol              = "TCP"
  load_balancing_scheme = "INTERNAL"
  failover_policy {
    # expect: GCP10
    disable_connection_drain_on_failover = true
  }
}
""",
    },
    good={
        "lb.tf": """\
resource "google_compute_region_backend_service" "l4" {
  name                  = "l4"
  protocol              = "TCP"
  load_balancing_scheme = "INTERNAL"
  failover_policy {
    disable_connection_drain_on_failover = false
  }
}
""",
    },
    fix="Set `disable_connection_drain_on_failover = false`.",
    check=check,
    lab=GOOGLE_CLOUD,
)
