"""The managed instance group: that it is there, that no other tool changes it, and that the API takes its policy."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.doctor.diagnosis import Diagnosis, Severity
from changeover.doctor.facts import GroupFacts, part, short

_LEFT_ALONE = "none: the roll is refused"


def check(facts: GroupFacts) -> Iterator[Diagnosis]:
    managed = f"gcloud compute instance-groups managed {{}} {facts.group_name} {facts.place}"
    if facts.group is None and f"group {facts.group_name}" in facts.unread:
        return
    if facts.group is None:
        yield Diagnosis(
            "group-missing",
            Severity.FATAL,
            facts.where,
            f"there is no managed instance group {facts.group_name} ({facts.place})",
            _LEFT_ALONE,
            _LEFT_ALONE,
            f"gcloud compute instance-groups managed list --filter=name={facts.group_name}",
        )
        return
    yield from _changing(facts, managed)
    mode = part(facts.autoscaler, "autoscalingPolicy.mode", "ON")
    if facts.autoscaler is not None and mode != "OFF":
        yield Diagnosis(
            "autoscaler-on",
            Severity.FATAL,
            facts.where,
            f"autoscaler {part(facts.autoscaler, 'name', '')} has mode {mode}",
            "error: the autoscaler deletes VMs that the roll has just created or still drains",
            "cut: a VM that it deletes gets the drain time of the backend service and no more",
            managed.format("update-autoscaling") + " --mode=off",
        )
    if facts.regional and part(facts.group, "updatePolicy.instanceRedistributionType", "PROACTIVE") != "NONE":
        yield Diagnosis(
            "redistribution-on",
            Severity.NOTE,
            facts.where,
            "instanceRedistributionType is PROACTIVE: the group may delete a VM to even out its zones",
            "ok while changeover holds the group, which turns it off; error in between",
            "cut where the drain time of the backend service is shorter than the upload",
            managed.format("update") + " --instance-redistribution-type=none",
        )
    yield from _policy(facts, managed)
    if part(facts.group, "statefulPolicy.preservedState"):
        yield Diagnosis(
            "stateful",
            Severity.FATAL,
            facts.where,
            "the group is stateful: the name, disks or addresses of its VMs are kept when one is replaced",
            "error: the new VM waits for what the old one holds",
            "cut: the old VM cannot drain while the new one serves",
            "Roll a stateful group in place by another tool; changeover creates the new VM first.",
        )


def check_size(facts: GroupFacts) -> Iterator[Diagnosis]:
    """The group that has the instances: that it has some, as many as the chain file wants, at a port that is known."""
    if facts.group is None or f"the VMs of group {facts.group_name}" in facts.unread:
        return
    size = int(part(facts.group, "targetSize", 0))
    if not facts.staying:
        yield Diagnosis(
            "group-empty",
            Severity.FATAL,
            facts.where,
            "it has no VM",
            _LEFT_ALONE,
            _LEFT_ALONE,
            f"gcloud compute instance-groups managed resize {facts.group_name} --size={facts.size or 2} {facts.place}",
        )
    elif facts.size is not None and facts.size != size:
        yield Diagnosis(
            "size-differs",
            Severity.FATAL,
            facts.where,
            f"the chain file sets its size to {facts.size}, and the group has {size} VMs",
            _LEFT_ALONE,
            _LEFT_ALONE,
            f"Write `size: {size}` in the chain file, or remove the key.",
        )
    if facts.has_router and not facts.port:
        yield Diagnosis(
            "port-unknown",
            Severity.FATAL,
            facts.where,
            "its router needs the port at which the VMs serve, and the group does not name one",
            _LEFT_ALONE,
            _LEFT_ALONE,
            f"gcloud compute instance-groups set-named-ports {facts.group_name} --named-ports=http:PORT {facts.place}",
        )


def _changing(facts: GroupFacts, managed: str) -> Iterator[Diagnosis]:
    group = facts.group
    versions = [short(part(one, "instanceTemplate", "")) for one in part(group, "versions", ())]
    busy = [
        f"{short(part(vm, 'instance', ''))} ({part(vm, 'currentAction')})"
        for vm in facts.staying
        if part(vm, "currentAction", "NONE") != "NONE"
    ]
    leaving = len(facts.staying) < len(facts.vms)
    proactive = part(group, "updatePolicy.type", "OPPORTUNISTIC") == "PROACTIVE"
    if len(versions) > 1:
        read, cure = f"it has two versions, {' and '.join(versions)}", managed.format("rolling-action start-update")
        cure += f" --version=template={versions[0]}"
    elif proactive and not part(group, "status.versionTarget.isReached", False):
        read, cure = "its own updater is replacing VMs", managed.format("wait-until") + " --version-target-reached"
    elif busy or not (leaving or part(group, "status.isStable", False)):
        read = f"it is changing: {', '.join(busy[:3]) or 'it is not stable'}"
        cure = managed.format("wait-until") + " --stable"
    else:
        return
    yield Diagnosis(
        "group-changing",
        Severity.FATAL,
        facts.where,
        read,
        "error: two tools replace VMs at the same time, and fewer serve than each of them thinks",
        "cut: the other tool does not wait for uploads",
        cure,
    )


def _policy(facts: GroupFacts, managed: str) -> Iterator[Diagnosis]:
    """Rules of the API for maxSurge and maxUnavailable, and what Google's own updater would do with them."""
    group = facts.group
    size = int(part(group, "targetSize", 0))
    zones = len(part(group, "distributionPolicy.zones", ())) if facts.regional else 1
    for key, flag in (("maxSurge", "update-policy-max-surge"), ("maxUnavailable", "update-policy-max-unavailable")):
        fixed, percent = part(group, f"updatePolicy.{key}.fixed"), part(group, f"updatePolicy.{key}.percent")
        wrong = ""
        if fixed and int(fixed) < zones:
            wrong = f"{key} is {fixed}; a group in {zones} zones takes 0, or {zones} and more"
        elif percent and size < 10:
            wrong = f"{key} is {percent} %; a group takes percentages from 10 VMs on, and this one has {size}"
        if wrong:
            yield Diagnosis(
                "update-policy-refused",
                Severity.WARNING,
                facts.where,
                wrong,
                "ok: but the API refuses every change of the group",
                "ok: but the API refuses every change of the group",
                managed.format("update") + f" --{flag}={zones if key == 'maxSurge' else 0}",
            )
    unavailable = part(group, "updatePolicy.maxUnavailable", {"fixed": zones})
    if any(int(value) for key, value in unavailable.items() if key in ("fixed", "percent")):
        yield Diagnosis(
            "updater-takes-vms-down",
            Severity.NOTE,
            facts.where,
            f"maxUnavailable is {_words(unavailable)}: an update by another tool deletes VMs before new ones serve",
            "ok in a roll of changeover, which does not use it; error in an update by another tool",
            "ok in a roll of changeover; cut in an update by another tool",
            managed.format("update") + f" --update-policy-max-surge={zones} --update-policy-max-unavailable=0",
        )


def _words(value: object) -> str:
    fixed, percent = part({"of": value}, "of.fixed"), part({"of": value}, "of.percent")
    return f"{percent} %" if percent else str(fixed)
