"""VM03: graceful shutdown is on, and nothing in the guest acts on it."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.machines import machines, scheduling
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for machine in machines(view.google):
        path = (*scheduling(machine), "gracefulShutdown", "enabled")
        on = machine.flag(path, False, "false")
        script = machine.body.text("metadataStartupScript") or machine.body.text("metadata", "startup-script")
        if on.value is None:
            yield unknown(on.place, machine.object, on.text, on.missing)
        elif not on.value or (script is not None and "PENDING_STOP" in script):
            yield met(on.place, machine.object, on.text if not on.value else "the startup script names PENDING_STOP")
        elif script is None:
            missing = "what in the guest watches the metadata server for PENDING_STOP"
            yield unknown(on.place, machine.object, on.text, missing)
        else:
            yield violated(
                on.place,
                machine.object,
                f"{on.text}, and the startup script does not name PENDING_STOP",
                get=Effect.OK,
                post=Effect.OK,
                consequence="a GET and a POST go on until the period ends; nothing drains the instance meanwhile",
                fix="a process in the guest that watches for PENDING_STOP and begins to drain",
            )


RULE = Rule(
    id="VM03",
    name="machine-ignores-pending-stop",
    severity=Severity.WARNING,
    what="Graceful shutdown is enabled, and nothing in the guest watches for it.",
    why="During the graceful period the guest gets no signal: shutdown scripts run after it. Only a process that "
    "watches the metadata server (`PENDING_STOP`) can begin to drain.",
    sources=("https://cloud.google.com/compute/docs/instances/graceful-shutdown-overview",),
    bad={
        "vm.tf": """\
resource "google_compute_instance_template" "app" {
  name         = "app"
  machine_type = "e2-medium"
  metadata_startup_script = "systemctl start app"
  scheduling {
    graceful_shutdown {
      # expect: VM03
      enabled = true
    }
  }
}
""",
    },
    good={
        "vm.tf": """\
resource "google_compute_instance_template" "app" {
  name         = "app"
  machine_type = "e2-medium"
  metadata_startup_script = "drain-on PENDING_STOP ; systemctl start app"
  scheduling {
    graceful_shutdown {
      enabled = true
    }
  }
}
""",
    },
    fix="Run a watcher of the metadata server that begins to drain.",
    check=check,
    lab=GOOGLE_CLOUD,
)
