"""Autohealing: a check of each instance of a group, and a new VM under the same name for one that fails.

Page "About repairing VMs in a MIG": a VM that stopped is repaired, and one whose application fails the check as well,
unless instanceLifecyclePolicy says DO_NOTHING.
"""

from __future__ import annotations

import asyncio
import time

from tests.gcp.fake.balancers import checks
from tests.gcp.fake.groups.group import Group, Surroundings
from tests.gcp.fake.groups.managed import Managed
from tests.gcp.fake.machines.hollow import HollowVm
from tests.gcp.fake.wire.errors import Json


async def heal(group: Group, around: Surroundings) -> None:
    """Until the group is deleted."""
    counts: dict[str, int] = {}
    while group.going:
        check = group.check()
        if check is not None:
            await asyncio.gather(*(_ask(m, check, counts, around) for m in group.managed.values() if not m.leaving))
        for managed in list(group.managed.values()):
            if around.actors.autohealer and managed.action in {"NONE", "VERIFYING"} and _sick(group, managed):
                group.repair(managed)
        await around.clock.sleep(check.interval if check else around.clock.delays.look)


async def _ask(managed: Managed, check: checks.Check, counts: dict[str, int], around: Surroundings) -> None:
    """`counts`: of each VM, checks that passed in a row, or failed (negative)."""
    if (vm := managed.vm) is None or managed.action not in {"NONE", "VERIFYING"}:
        return
    passed = vm.passes(check.path) if isinstance(vm, HollowVm) else await checks.passes(check, vm.address)
    passed = passed and not around.faults.unhealthy(vm.name)
    before = counts.get(vm.number, 0)
    counts[vm.number] = max(before, 0) + 1 if passed else min(before, 0) - 1
    if counts[vm.number] >= check.healthy:
        managed.health, managed.healthy_once = "HEALTHY", True
        if managed.action == "VERIFYING":
            managed.action = "NONE"
    elif counts[vm.number] <= -check.unhealthy:
        managed.health = "UNHEALTHY"


def _sick(group: Group, managed: Managed) -> bool:
    policy: Json = group.resource.get("instanceLifecyclePolicy", {})
    by_default = policy.get("defaultActionOnFailure", "REPAIR")
    on_check = policy.get("onFailedHealthCheck", "DEFAULT_ACTION")
    if managed.vm is not None and managed.vm.status == "TERMINATED":
        return bool(by_default == "REPAIR")
    if (by_default if on_check == "DEFAULT_ACTION" else on_check) == "DO_NOTHING":
        return False
    return managed.health == "UNHEALTHY" and not _initial(group, managed)


def _initial(group: Group, managed: Managed) -> bool:
    """initialDelaySec: "During a VM's initial delay period, the MIG ignores unsuccessful health checks"; a healthy
    answer "indicates that the startup process is complete".

    It is the time that the programs on a VM take to start, and these are no faster at another speed of the fake.
    """
    if managed.healthy_once or managed.vm is None:
        return False
    delay = group.resource["autoHealingPolicies"][0].get("initialDelaySec", 0)
    return bool(time.monotonic() - managed.vm.started < delay)
