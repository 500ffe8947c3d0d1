"""The autoscaler: it resizes groups by itself, whoever else changes them.

It measures nothing here: the fault `load` says which size it recommends. autoscalingPolicy.mode: OFF "disables the
autoscaler but maintains its configuration", ONLY_SCALE_OUT "restricts the autoscaler to add VM instances only".
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.gcp.fake.groups.group import Group, Surroundings
from tests.gcp.fake.resources.links import path_of
from tests.gcp.fake.wire.errors import Json


async def scale(groups: Mapping[str, Group], around: Surroundings) -> None:
    """For as long as the fake lives."""
    while True:
        if around.actors.autoscaler:
            for autoscaler in list(around.store.of_kind("compute#autoscaler")):
                if group := groups.get(path_of(autoscaler["target"], "")):
                    _look(group, autoscaler, around)
        await around.clock.sleep(around.clock.delays.autoscale)


def _look(group: Group, autoscaler: Json, around: Surroundings) -> None:
    policy = autoscaler["autoscalingPolicy"]
    wanted = around.faults.load(group.path) or group.target
    size = max(policy.get("minNumReplicas", 0), min(policy["maxNumReplicas"], wanted))
    autoscaler["recommendedSize"] = size
    autoscaler["status"] = "ACTIVE"
    mode = policy.get("mode", "ON")
    if mode == "OFF" or size == group.target or (mode != "ON" and size < group.target):
        return
    group.target = size
    group.look()
