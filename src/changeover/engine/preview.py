"""Shows the new instances of a tier at its preview address, while they are ready and wait for the switch.

Every look asks the machine which instances to show: the preview is right again after another controller took over, or
after the load balancer restarted. Decides nothing; only the hooks before the switch wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

from changeover.engine.timing import EngineTiming
from changeover.model.instance import Instance
from changeover.ports import Preview, Unknown
from changeover.rollout.tier.machine import Machine


async def show(machine: Machine, preview: Preview, instances: Mapping[str, Instance], timing: EngineTiming) -> None:
    """Keep one tier's preview until cancelled."""
    listed = True
    while True:
        names = machine.held_back
        if names or listed:
            try:
                listed = await preview.show(_found(names, instances))
            except Unknown:
                listed = True
        await asyncio.sleep(timing.preview_look)


async def until_shown(
    machine: Machine, preview: Preview, instances: Mapping[str, Instance], timing: EngineTiming
) -> None:
    """Wait until the instances that wait for the switch are shown at the preview."""
    while names := machine.held_back:
        with contextlib.suppress(Unknown):
            await preview.show(_found(names, instances))
            return
        await asyncio.sleep(timing.preview_look)


def _found(names: Sequence[str], instances: Mapping[str, Instance]) -> list[Instance]:
    return [instances[name] for name in names if name in instances]
