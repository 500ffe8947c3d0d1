"""The group that takes turns with the one of the instances: empty at rest, and its VMs serve at the same ports."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.doctor.diagnosis import Diagnosis, Severity
from changeover.doctor.facts import GroupFacts, part

_LEAKS = "error: the new instances would get requests before the switch, untested and not all of them"
_WAITS = "ok: the old instances go on, because the switch is never confirmed"


def check(facts: GroupFacts) -> Iterator[Diagnosis]:
    idle = facts.idle
    if idle is None or idle.group is None:
        return
    if idle.staying or int(part(idle.group, "targetSize", 0)):
        yield Diagnosis(
            "both-groups-have-vms",
            Severity.FATAL,
            idle.where,
            f"it has VMs, and group {facts.group_name} of the same tier has some too: one of them must be empty",
            _LEAKS,
            _LEAKS,
            f"gcloud compute instance-groups managed resize {idle.group_name} --size=0 {idle.place}",
        )
    if idle.port != facts.port:
        named = ",".join(f"{part(one, 'name')}:{part(one, 'port')}" for one in part(facts.group, "namedPorts", ()))
        yield Diagnosis(
            "second-group-without-port",
            Severity.FATAL,
            idle.where,
            f"its VMs would serve at port {idle.port or 'none'}, those of group {facts.group_name} at "
            f"{facts.port or 'none'}",
            _WAITS,
            _WAITS,
            f"gcloud compute instance-groups set-named-ports {idle.group_name} --named-ports={named} {idle.place}",
        )
