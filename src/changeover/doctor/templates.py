"""The instance templates: that the way back exists, and what ends VMs of them without a drain."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.doctor.diagnosis import Diagnosis, Severity
from changeover.doctor.facts import GroupFacts, TierFacts, below_project, part, short

_REFUSED = "none: the roll is refused"


def check(facts: TierFacts) -> Iterator[Diagnosis]:
    used = {below_project(part(vm, "version.instanceTemplate", "")) for vm in facts.staying}
    for path, template in facts.templates.items():
        where = f"tier {facts.tier}, instance template {short(path)}"
        if template is None:
            if path not in facts.unread:
                yield Diagnosis(
                    "template-missing",
                    Severity.FATAL if path in used else Severity.WARNING,
                    where,
                    f"there is no instance template {short(path)}: a roll to it fails, and so does the way back to it",
                    "error where VMs have it: a roll that must be undone cannot create them again",
                    "error where VMs have it: a roll that must be undone cannot create them again",
                    "Create it again, or remove the template from the chain file: "
                    f"gcloud compute instance-templates list --filter=name={short(path)}",
                )
            continue
        yield from _scheduling(where, path, part(template, "properties.scheduling", {}))


def _scheduling(where: str, path: str, scheduling: dict[str, object]) -> Iterator[Diagnosis]:
    shown = f"gcloud compute instance-templates describe {short(path)}"
    again = f"Create a template without it from what this shows, and roll to it: {shown}"
    if part(scheduling, "preemptible", False) or part(scheduling, "provisioningModel") == "SPOT":
        yield Diagnosis(
            "ends-by-preemption",
            Severity.WARNING,
            where,
            "its VMs are Spot VMs: one ends within 30 s of a notice, at any time",
            "ok: the agent makes it a lame duck at the notice",
            "cut: 30 s are not enough for it, unless the relay sends it in segments",
            again.replace("without it", "with --provisioning-model=STANDARD"),
        )
    if part(scheduling, "onHostMaintenance", "MIGRATE") == "TERMINATE" and not part(scheduling, "preemptible", False):
        yield Diagnosis(
            "ends-by-maintenance",
            Severity.WARNING,
            where,
            "onHostMaintenance is TERMINATE: maintenance of the host ends the VM",
            "ok: the agent makes it a lame duck at the notice",
            "cut where it lasts longer than the notice",
            again.replace("without it", "with --maintenance-policy=MIGRATE"),
        )
    if part(scheduling, "maxRunDuration") or part(scheduling, "terminationTime"):
        yield Diagnosis(
            "ends-by-age",
            Severity.WARNING,
            where,
            "its VMs end at an age or a time that it sets (maxRunDuration, terminationTime)",
            "cut",
            "cut",
            again,
        )
    if part(scheduling, "skipGuestOsShutdown", False):
        yield Diagnosis(
            "ends-without-shutdown",
            Severity.WARNING,
            where,
            "skipGuestOsShutdown is true: a VM that is deleted ends at once, without its stop scripts",
            "ok in a roll; cut where another tool or autohealing deletes the VM",
            "ok in a roll; cut where another tool or autohealing deletes the VM",
            again,
        )


def check_known(facts: GroupFacts) -> Iterator[Diagnosis]:
    """VMs whose template the chain file does not name, or of several templates: `up` cannot adopt them."""
    by_path = {path: name for name, path in facts.paths.items()}
    vms: dict[str, list[str]] = {}
    for vm in facts.staying:
        path = below_project(part(vm, "version.instanceTemplate", ""))
        vms.setdefault(path, []).append(short(part(vm, "instance", "")))
    for path in vms.keys() - by_path.keys():
        names = vms[path]
        yield Diagnosis(
            "template-unknown",
            Severity.FATAL,
            facts.where,
            f"{', '.join(names[:3])}{' and more' if len(names) > 3 else ''} have instance template "
            f"{short(path) or 'none'}, which the chain file does not have",
            _REFUSED,
            _REFUSED,
            f"Add a template with `instance_template: {short(path)}` to the tier in the chain file.",
        )
    if len(kinds := sorted(by_path[path] for path in vms.keys() & by_path.keys())) > 1:
        yield Diagnosis(
            "templates-differ",
            Severity.FATAL,
            facts.where,
            f"its VMs run several templates: {', '.join(kinds)}",
            _REFUSED,
            _REFUSED,
            f"gcloud compute instance-groups managed rolling-action start-update {facts.group_name} {facts.place} "
            f"--version=template={short(facts.paths[kinds[0]])}",
        )
