"""GCP02: connection draining is shorter than an upload."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.facts import DRAINING, drain, drained_services
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View
from changeover.model.units import human_seconds

SPARE = 30.0
"""Seconds between the end of the longest request and that of the drain."""
LONGEST = 3600.0
"""Seconds: the limit of drainingTimeoutSec."""


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    need = asked.request_seconds + SPARE
    for service in drained_services(view.google):
        found = drain(service)
        if found.value is None:
            yield unknown(found.place, service.object, found.text, found.missing)
            continue
        rate = asked.slowest_rate(found.value - SPARE)
        numbers: dict[str, float | str | None] = {
            "drain_seconds": found.value,
            "request_seconds": asked.request_seconds,
            "slowest_client_bits_per_second": rate if rate is None else round(rate),
        }
        if found.value >= need:
            yield met(found.place, service.object, f"{found.text}: enough for {words.upload(asked)}", numbers)
        elif found.value > 0:  # of 0, GCP01 says it
            default = "" if "not set" not in found.text else f" ({found.text})"
            yield violated(
                found.place,
                service.object,
                f"drain of {words.span(found.value)} is shorter than {words.upload(asked)} "
                f"({words.span(asked.request_seconds)}{'' if found.value < asked.request_seconds else ' and 30 s'})"
                f"{default}",
                get=Effect.OK,
                post=Effect.CUT,
                consequence=f"a GET survives; a POST in flight is cut {words.span(found.value)} after its instance "
                "begins to leave" + (f"; clients above {words.bit_rate(rate)} survive" if rate else ""),
                fix=service.with_value(DRAINING, f"{need:.0f}")
                if need <= LONGEST
                else f"no drain is longer than {human_seconds(LONGEST)}: let clients resume uploads",
                numbers=numbers,
                replacement=found.replaced_by(need) if need <= LONGEST else None,
            )


RULE = Rule(
    id="GCP02",
    name="google-short-draining",
    severity=Severity.ERROR,
    what="Connection draining of a backend service is shorter than the longest upload.",
    why="When draining is over, the instance is deleted whatever it is still receiving. The guest gets no signal "
    "before that.",
    sources=("https://cloud.google.com/load-balancing/docs/enabling-connection-draining",),
    bad={
        "lb.tf": """\
resource "google_compute_backend_service" "web" {
  name = "web"
  # expect: GCP02
  connection_draining_timeout_sec = 300
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
    fix="Set `connection_draining_timeout_sec` to the longest request and 30 seconds more; at most 3600.",
    check=check,
    lab=GOOGLE_CLOUD,
)
