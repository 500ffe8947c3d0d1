"""Which groups of a tier are backends of its services: one at rest; both from a switch until the old one is empty.

The VMs of a group that is no backend get no requests, so a new template can be complete before the switch. What may be
a backend counts as one: the record is written before the call, and corrected by what a service answers. Refuses to
decide when a group joins or leaves: the router asks for the first, the platform for the second.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from changeover.platforms.gcp.api.services import Service, Services
from changeover.platforms.gcp.records import Records, TierRecord
from changeover.ports import Unknown


class Backends:
    """Of one chain. `record`: of a tier that was adopted; raises ChangeoverError for others."""

    def __init__(self, record: Callable[[str], TierRecord], records: Records, services: Services) -> None:
        self._record = record
        self._records = records
        self._services = services
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def join(self, tier: str, group: str) -> None:
        """Have the group be a backend of every service of the tier, like the group that serves. Raises Unknown."""
        async with self._locks[tier]:
            link = self._record(tier).groups[group].link
            for service in self._record(tier).services:
                if link in service.groups:
                    continue
                self._keep(tier, replace(service, groups=(*service.groups, link)))
                like = self._record(tier).groups[self._record(tier).serving].link
                try:
                    found = await self._services.change_backends(service, add=link, like=like)
                except Unknown:
                    with suppress(Unknown):  # it counts as a backend until a service says otherwise
                        self._keep(tier, await self._services.get(service.name))
                    raise
                self._keep(tier, found)

    async def leave(self, tier: str, group: str) -> None:
        """Have the group, which has no VM, be a backend of no service. Raises Unknown."""
        async with self._locks[tier]:
            link = self._record(tier).groups[group].link
            for service in self._record(tier).services:
                self._keep(tier, await self._services.change_backends(service, remove=link))

    async def read(self, tier: str, service: Service) -> Service:
        """The service as it is now, also in the record. Raises Unknown."""
        async with self._locks[tier]:
            found = await self._services.get(service.name)
            self._keep(tier, found)
            return found

    def _keep(self, tier: str, service: Service) -> None:
        record = self._record(tier)
        services = tuple(service if one.name == service.name else one for one in record.services)
        if services != record.services:
            self._records.keep_tier(tier, replace(record, services=services))
