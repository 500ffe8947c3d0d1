"""MIG10: an autoscaler may remove instances during a rollout."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for scaler in view.google.of("autoscaler"):
        found = scaler.word(("autoscalingPolicy", "mode"), "ON", "ON")
        controls = scaler.body.get("autoscalingPolicy", "scaleInControl")
        if found.value is None:
            yield unknown(found.place, scaler.object, found.text, found.missing)
        elif found.value != "ON":
            yield met(found.place, scaler.object, found.text)
        elif controls is not None:
            yield met(controls.place, scaler.object, "it has a scale-in control")
        else:
            yield violated(
                found.place,
                scaler.object,
                f"{found.text}, without scaleInControl",
                get=Effect.OK,
                post=Effect.CUT,
                consequence="a GET survives; a POST on an instance that is scaled in is cut where the drain is short",
                fix='mode = "ONLY_SCALE_OUT" during rollouts, or scale_in_control',
            )


RULE = Rule(
    id="MIG10",
    name="autoscaler-shrinks-in-a-rollout",
    severity=Severity.WARNING,
    what="An autoscaler in mode ON has no scale-in control.",
    why="A rollout changes the load of each instance, and the autoscaler answers by removing some: more instances "
    "leave at once than the rollout planned.",
    sources=("https://cloud.google.com/compute/docs/autoscaler/managing-autoscalers#scale_in_controls",),
    bad={
        "mig.tf": """\
resource "google_compute_region_autoscaler" "app" {
  name   = "app"
  target = google_compute_region_instance_group_manager.app.id
  # expect: MIG10
  autoscaling_policy {
    min_replicas = 3
    max_replicas = 12
  }
}
""",
    },
    good={
        "mig.tf": """\
resource "google_compute_region_autoscaler" "app" {
  name   = "app"
  target = google_compute_region_instance_group_manager.app.id
  autoscaling_policy {
    min_replicas = 3
    max_replicas = 12
    mode         = "ONLY_SCALE_OUT"
  }
}
""",
    },
    fix="Use the mode ONLY_SCALE_OUT during a rollout, or set scale-in controls.",
    check=check,
    lab=GOOGLE_CLOUD,
)
