"""Shows the new colour of a tier at its preview address, for as long as it is ready and waits for the switch.

Whom to show is asked of the machine at every look, so that whoever takes over a rollout, or starts the load balancer
again, finds the same. Decides nothing, and nothing waits for it but the hooks before the switch.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

from changeover.model.instance import Instance
from changeover.ports import Preview, Unknown
from changeover.rollout.tier.machine import Machine

LOOK = 0.2
"""Seconds between two looks."""


async def show(machine: Machine, preview: Preview, instances: Mapping[str, Instance]) -> None:
    """Keep one tier's preview until cancelled."""
    listed = True
    while True:
        names = machine.held_back
        if names or listed:
            try:
                listed = await preview.show(_found(names, instances))
            except Unknown:
                listed = True
        await asyncio.sleep(LOOK)


async def until_shown(machine: Machine, preview: Preview, instances: Mapping[str, Instance]) -> None:
    """Wait until whoever waits for the switch is seen at the preview."""
    while names := machine.held_back:
        with contextlib.suppress(Unknown):
            await preview.show(_found(names, instances))
            return
        await asyncio.sleep(LOOK)


def _found(names: Sequence[str], instances: Mapping[str, Instance]) -> list[Instance]:
    return [instances[name] for name in names if name in instances]
