"""The group that takes turns with the one of the instances: it is empty at rest, and its VMs serve at the same port."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.doctor.diagnosis import Diagnosis, Severity
from changeover.doctor.facts import TierFacts, part


def check(facts: TierFacts) -> Iterator[Diagnosis]:
    if facts.group is None:
        return
    if facts.staying or int(part(facts.group, "targetSize", 0)):
        yield Diagnosis(
            "both-groups-have-vms",
            Severity.FATAL,
            facts.where,
            f"it has {len(facts.staying)} VMs, and the other group of the tier has VMs too: one of them must be empty",
            "error: the new instances would not be held back until the switch",
            "error: the new instances would not be held back until the switch",
            f"gcloud compute instance-groups managed resize {facts.group_name} --size=0 {facts.place}",
        )
    ports = {part(one, "name"): part(one, "port") for one in part(facts.group, "namedPorts", ())}
    for name, service in facts.present():
        port = part(service, "portName", "http")
        passes_through = part(service, "loadBalancingScheme") == "INTERNAL"
        if port not in ports and not passes_through:
            yield Diagnosis(
                "second-group-without-port",
                Severity.FATAL,
                facts.where,
                f"it has no named port {port}, to which backend service {name} sends requests",
                "error: none for the old instances, but the switch is never confirmed",
                "error: none for the old instances, but the switch is never confirmed",
                f"gcloud compute instance-groups set-named-ports {facts.group_name} {facts.place} "
                f"--named-ports={port}:PORT",
            )
