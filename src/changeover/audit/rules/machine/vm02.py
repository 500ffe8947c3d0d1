"""VM02: a stop without draining is shorter than an upload."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.machines import machines, scheduling
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View

POWER_OFF = 90.0
"""Seconds between ACPI and the end of the power, without a graceful shutdown."""


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for machine in machines(view.google):
        path = (*scheduling(machine), "gracefulShutdown")
        on = machine.flag((*path, "enabled"), False, "false")
        length = machine.number((*path, "maxDuration", "seconds"), 600.0, "600")
        if on.value is None or length.value is None:
            lacking = on if on.value is None else length
            yield unknown(lacking.place, machine.object, lacking.text, lacking.missing)
            continue
        limit = length.value if on.value else POWER_OFF
        text = (
            f"graceful shutdown of {words.span(limit)}"
            if on.value
            else f"the power goes {words.span(limit)} after a stop"
        )
        if limit < asked.request_seconds and machine.kind == "instance":
            missing = "whether this machine serves requests: it is in no group that the files describe"
            yield unknown(machine.at(*path), machine.object, text, missing)
        elif limit >= asked.request_seconds:
            yield met(machine.at(*path), machine.object, text, {"margin_seconds": limit - asked.request_seconds})
        else:
            yield violated(
                machine.at(*path),
                machine.object,
                f"{text}: shorter than {words.upload(asked)} ({words.span(asked.request_seconds)})",
                get=Effect.OK,
                post=Effect.CUT,
                consequence="a GET survives; a POST in flight is cut by autohealing, maintenance or a stop by hand",
                fix="drain before the stop; or scheduling.graceful_shutdown with a longer max_duration",
                numbers={"limit_seconds": limit, "request_seconds": asked.request_seconds},
            )


RULE = Rule(
    id="VM02",
    name="machine-shutdown-shorter-than-upload",
    severity=Severity.ERROR,
    what="A machine has 90 seconds to shut down, and the longest upload takes more.",
    why="Autohealing, maintenance and a stop by hand do not drain: the guest gets ACPI, systemd stops its units, "
    "and the power goes after about 90 seconds, 30 on Spot. Only a graceful shutdown period is longer.",
    sources=("https://cloud.google.com/compute/docs/instances/graceful-shutdown-overview",),
    bad={
        "vm.tf": """\
# expect: VM02
resource "google_compute_instance_template" "app" {
  name         = "app"
  machine_type = "e2-medium"
}
""",
    },
    good={
        "vm.tf": """\
resource "google_compute_instance_template" "app" {
  name         = "app"
  machine_type = "e2-medium"
  scheduling {
    graceful_shutdown {
      enabled = true
      max_duration { seconds = 600 }
    }
  }
}
""",
    },
    fix="Drain before every stop that is planned, or enable graceful shutdown with a longer duration.",
    check=check,
    lab=GOOGLE_CLOUD,
)
