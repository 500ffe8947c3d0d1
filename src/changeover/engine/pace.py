"""How long a controller waits until it looks at a tier again.

A look soon after a command finds what the routers have confirmed by then. The pause grows with the wait: it adds a
fraction to it, and a long wait costs few looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from changeover.engine.timing import EngineTiming
from changeover.model.instance import Instance
from changeover.ports import Platform, SeesExits
from changeover.rollout.members.phases import UNSETTLED, Phase
from changeover.rollout.tier.machine import Machine

_SHARE = 0.25
"""Of the time since an instance began to wait: the pause between two looks that may find the wait at its end."""
_AWAITED = (Phase.READY, Phase.LEAVING, Phase.DRAINED)
"""Phases that end with what a look finds of a command. STOPPING is none: `pause` sees its end. Nor is DRAINING: a
router's workers may open a last connection a moment after the confirmed removal, and the looks that find nothing must
come after that."""


async def pause(platform: Platform, stopping: Collection[Instance], seconds: float) -> None:
    """Wait for so long, or until the first process of an instance exits where the platform sees that."""
    if stopping and isinstance(platform, SeesExits):
        await platform.until_exit(stopping, seconds)
    else:
        await asyncio.sleep(seconds)


def until_next_look(machine: Machine, timing: EngineTiming, now: float) -> float:
    """Seconds; fewer the nearer something is to happen."""
    fleet = machine.fleet
    if not (machine.tier.moving or fleet.count(UNSETTLED)):
        return timing.resting_look
    if any(member.quiet for member in fleet.where(Phase.DRAINING)):
        return timing.last_look
    waits = [_SHARE * (now - member.since) for member in fleet.where(*_AWAITED)]
    waits += [member.since + machine.settings.min_ready - now for member in fleet.where(Phase.WARMING)]
    return max(timing.first_look, min([timing.busy_look, *waits]))
