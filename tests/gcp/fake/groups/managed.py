"""One instance of a group: what the group does with it, and what listManagedInstances tells of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from tests.gcp.fake.groups.planning import Version
from tests.gcp.fake.machines.vm import Vm
from tests.gcp.fake.resources.links import link, name_of
from tests.gcp.fake.wire.errors import Json

LEAVING = frozenset({"DELETING", "ABANDONING"})


@dataclass(eq=False)
class Managed:
    path: str
    version: Version
    action: str = "CREATING"
    vm: Vm | None = None
    errors: list[Json] = field(default_factory=list)
    """Of the last attempt to create it."""
    health: str = "UNKNOWN"
    """What autohealing's check found."""
    healthy_once: bool = False
    task: asyncio.Task[None] | None = None
    """What carries its action out."""

    @property
    def name(self) -> str:
        return name_of(self.path)

    @property
    def zone(self) -> str:
        return self.path.split("/")[3]

    @property
    def leaving(self) -> bool:
        return self.action in LEAVING

    def resource(self, health_check: str | None) -> Json:
        result: Json = {
            "instance": link(self.path),
            "name": self.name,
            "currentAction": self.action,
            "targetStatus": {"DELETING": "DELETED", "ABANDONING": "ABANDONED"}.get(self.action, "RUNNING"),
        }
        if not self.leaving:  # version.instanceTemplate: "empty when current_action is one of { DELETING, ABANDONING }"
            result["version"] = self.version.resource()
        if self.vm is not None:  # instanceStatus, id: "empty when the instance does not exist"
            result["id"] = self.vm.number
            result["instanceStatus"] = self.vm.status
            if health_check:
                state = "DRAINING" if self.leaving else self.health
                result["instanceHealth"] = [{"healthCheck": health_check, "detailedHealthState": state}]
        if self.errors:
            result["lastAttempt"] = {"errors": {"errors": self.errors}}
        return result
