"""One list of a group's VMs for all questions of a look, and one of their addresses: those that arrive together share
it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from changeover.kit.shared import Shared
from changeover.platforms.gcp.api.groups import Groups, ManagedVm
from changeover.platforms.gcp.api.machines import Machines


class GroupLooks:
    """`look`: seconds between two looks; a list is used for less than that."""

    def __init__(self, groups: Groups, machines: Machines, look: float) -> None:
        self._groups = groups
        self._machines = machines
        self._addresses = Shared[None, ManagedVm, str](self._ask_addresses)
        self._look = look
        self._asked: dict[str, tuple[float, asyncio.Future[Mapping[str, ManagedVm]]]] = {}

    async def vms(self, group: str, *, fresh: bool = False) -> Mapping[str, ManagedVm]:
        """Its VMs by name. `fresh`: as of now, or later. Raises Refused, and Unknown."""
        now = time.monotonic()
        at, asked = self._asked.get(group, (0.0, None))
        if asked is None or fresh or now - at >= self._look / 2 or (asked.done() and asked.exception() is not None):
            asked = asyncio.ensure_future(self._groups.vms(group))
            asked.add_done_callback(_looked_at)
            self._asked[group] = now, asked
        return await asyncio.shield(asked)

    async def address(self, vm: ManagedVm) -> str:
        """Of its first interface; empty: it has none yet. Raises Refused, and Unknown."""
        return await self._addresses.ask(None, vm.name, vm)

    async def _ask_addresses(self, key: None, vms: Mapping[str, ManagedVm]) -> Mapping[str, str]:
        return dict.fromkeys(vms, "") | dict(await self._machines.addresses(vms.values()))


def _looked_at(asked: asyncio.Future[Mapping[str, ManagedVm]]) -> None:
    """So that asyncio does not report the error of a question whose asker was cancelled."""
    if not asked.cancelled():
        asked.exception()
