"""VM04: the guest is not asked to shut down."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.machines import machines, scheduling
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for machine in machines(view.google):
        found = machine.flag((*scheduling(machine), "skipGuestOsShutdown"), False, "false")
        if found.value is None:
            yield unknown(found.place, machine.object, found.text, found.missing)
        elif not found.value:
            yield met(found.place, machine.object, found.text)
        else:
            yield violated(
                found.place,
                machine.object,
                f"{found.text}: no process gets a signal before the power goes",
                get=Effect.CUT,
                post=Effect.CUT,
                consequence="a GET and a POST in flight are cut by every stop of the machine",
                fix=machine.with_value((*scheduling(machine), "skipGuestOsShutdown"), "false"),
                replacement=found.replaced("false"),
            )


RULE = Rule(
    id="VM04",
    name="machine-skips-guest-shutdown",
    severity=Severity.ERROR,
    what="`skipGuestOsShutdown` is true.",
    why="The machine is then powered off without ACPI: no unit is stopped, and no process gets a signal.",
    sources=("https://cloud.google.com/compute/docs/reference/rest/v1/instances",),
    bad={
        "vm.tf": """\
resource "google_compute_instance_template" "app" {
  name         = "app"
  machine_type = "e2-medium"
  scheduling {
    # expect: VM04
    skip_guest_os_shutdown = true
  }
}
""",
    },
    good={
        "vm.tf": """\
resource "google_compute_instance_template" "app" {
  name         = "app"
  machine_type = "e2-medium"
  scheduling {
    skip_guest_os_shutdown = false
  }
}
""",
    },
    fix="Set it to false.",
    check=check,
    lab=GOOGLE_CLOUD,
)
