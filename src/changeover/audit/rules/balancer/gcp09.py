"""GCP09: live connections are diverted when an instance becomes unhealthy."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.facts import is_passthrough
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    path = ("connectionTrackingPolicy", "connectionPersistenceOnUnhealthyBackends")
    for service in view.google.of("backendService"):
        found = service.word(path, "DEFAULT_FOR_PROTOCOL", "DEFAULT_FOR_PROTOCOL")
        if not is_passthrough(service) and "not set" in found.text:
            continue  # passthrough load balancers alone have it
        if found.value is None:
            yield unknown(found.place, service.object, found.text, found.missing)
        elif found.value != "NEVER_PERSIST":
            yield met(found.place, service.object, found.text)
        else:
            yield violated(
                found.place,
                service.object,
                f"{found.text}: live connections move to another instance, which resets them",
                get=Effect.CUT,
                post=Effect.CUT,
                consequence="a GET and a POST in flight are reset as soon as their instance reports itself unready",
                fix=service.with_value(path, "DEFAULT_FOR_PROTOCOL"),
                replacement=found.replaced("DEFAULT_FOR_PROTOCOL"),
            )


RULE = Rule(
    id="GCP09",
    name="google-never-persist",
    severity=Severity.ERROR,
    what="`connectionPersistenceOnUnhealthyBackends` is NEVER_PERSIST.",
    why="With NEVER_PERSIST a passthrough load balancer sends the packets of a live connection to another instance"
    " as soon as its own is unhealthy; that one answers with a reset. An instance that reports itself unready "
    "to drain loses every connection.",
    sources=("https://cloud.google.com/load-balancing/docs/internal#connection-persistence",),
    bad={
        "lb.tf": """\
resource "google_compute_region_backend_service" "l4" {
  name                  = "l4"
  protocol              = "TCP"
  load_balancing_scheme = "INTERNAL"
  connection_tracking_policy {
    # expect: GCP09
    connection_persistence_on_unhealthy_backends = "NEVER_PERSIST"
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
}
""",
    },
    fix="Leave it at its default, DEFAULT_FOR_PROTOCOL.",
    check=check,
    lab=GOOGLE_CLOUD,
)
