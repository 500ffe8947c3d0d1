"""VM01: a machine ends without a rollout."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.machines import machines, scheduling
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View

_WELL = (("provisioningModel", "STANDARD"), ("onHostMaintenance", "MIGRATE"))


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for machine in machines(view.google):
        path = scheduling(machine)
        found = [machine.word((*path, key), well, well) for key, well in _WELL]
        preempted = machine.flag((*path, "preemptible"), False, "false")
        ends = [key for key in ("maxRunDuration", "terminationTime") if machine.body.get(*path, key) is not None]
        bad = [(one, well) for one, well in zip(found, _WELL, strict=True) if one.value in {"SPOT", "TERMINATE"}]
        places = [(one.place, one.text, machine.with_value((*path, key), well)) for one, (key, well) in bad]
        if preempted.value:
            places.append((preempted.place, preempted.text, machine.with_value((*path, "preemptible"), "false")))
        places += [(machine.at(*path, key), key, f"no {machine.key((*path, key))}") for key in ends]
        lacking = [(one.place, one.text, one.missing) for one in found if one.value is None]
        lacking += [(preempted.place, preempted.text, preempted.missing)] if preempted.value is None else []
        if lacking:
            where, what, missing = lacking[0]
            yield unknown(where, machine.object, what, missing)
        elif not places:
            yield met(machine.place, machine.object, "a standard machine that migrates at maintenance")
        for place, text, fix in places:
            yield violated(
                place,
                machine.object,
                f"{text}: the machine is stopped without draining",
                get=Effect.CUT,
                post=Effect.CUT,
                consequence="a GET and a POST in flight are cut when the machine is stopped",
                fix=fix,
            )


RULE = Rule(
    id="VM01",
    name="machine-is-preempted",
    severity=Severity.ERROR,
    what="A machine can be stopped at any time: Spot, a limited run time, or termination at maintenance.",
    why="Google then stops the machine with 30 seconds or less of notice, without draining it at any load balancer.",
    sources=(
        "https://cloud.google.com/compute/docs/instances/spot",
        "https://cloud.google.com/compute/docs/instances/host-maintenance-overview",
    ),
    bad={
        "vm.tf": """\
resource "google_compute_instance_template" "app" {
  name         = "app"
  machine_type = "e2-medium"
  scheduling {
    # expect: VM01
    provisioning_model = "SPOT"
  }
}
""",
    },
    good={
        "vm.tf": """\
resource "google_compute_instance_template" "app" {
  name         = "app"
  machine_type = "e2-medium"
}
""",
    },
    fix="Use standard machines that migrate at maintenance for hops that hold uploads.",
    check=check,
    lab=GOOGLE_CLOUD,
)
