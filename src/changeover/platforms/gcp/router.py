"""The backend services of a tier as its router.

Lame duck and health checks move an instance: no call does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import ClassVar, Literal

from changeover.model.chain import Tier
from changeover.model.instance import Instance
from changeover.platforms.gcp.api.services import Service, Services
from changeover.platforms.gcp.membership import Health, Seen, judge
from changeover.platforms.gcp.records import TierRecord
from changeover.ports import Membership, Unknown

_BY_REQUEST = frozenset({"HTTP", "HTTPS", "HTTP2", "H2C", "GRPC"})
"""Protocols of services that choose an instance for each request, and keep connections to all of them."""


class GcpRouter:
    """The services of one tier. `exists`: those of the names that the group has; `is_lame`: what the agent answers."""

    follows_health: ClassVar[Literal[True]] = True

    def __init__(
        self,
        tier: Tier,
        record: Callable[[], TierRecord],
        services: Services,
        exists: Callable[[frozenset[str]], Awaitable[frozenset[str]]],
        is_lame: Callable[[str], Awaitable[bool | None]],
        propagation: float,
    ) -> None:
        self._tier = tier
        self._record = record
        self._services = services
        self._exists = exists
        self._is_lame = is_lame
        self._propagation = propagation
        self._out: dict[str, float] = {}
        """Since when each lame duck was unhealthy in every service, at every look."""

    async def open(self, keep: Collection[Instance] = ()) -> None:
        """Backend services are the operator's."""

    async def admit(self, instance: Instance, weight: int) -> None:
        """Health checks do it."""

    async def remove(self, instance: Instance) -> None:
        """Lame duck and health checks do it."""

    async def membership(self, names: frozenset[str]) -> Mapping[str, Membership]:
        if not names:
            return {}
        record = self._record()
        # The agents first: what the services answer after that is not older than the lame duck.
        here, lame = await asyncio.gather(
            self._exists(names), asyncio.gather(*(self._is_lame(name) for name in sorted(names)))
        )
        answers = await asyncio.gather(*(self._health(one, record.link) for one in record.services))
        services = [(one.name, answer) for one, answer in zip(record.services, answers, strict=True)]
        found, now = {}, time.monotonic()
        for name, ducks in zip(sorted(names), lame, strict=True):
            seen = Seen(name in here, ducks, now - self._out.get(name, now))
            found[name], out = judge(name, seen, services, self._propagation)
            if out:
                self._out.setdefault(name, now)
            else:
                self._out.pop(name, None)
        return found

    async def forget(self, name: str) -> None:
        self._out.pop(name, None)

    async def _health(self, service: Service, group: str) -> Health | str:
        try:
            return await self._services.health(service, group)
        except Unknown as error:
            return str(error)


class PoolingGcpRouter(GcpRouter):
    """Services that choose an instance for each request: an idle connection of theirs carries none."""

    async def pool_idle(self) -> float:
        return self._tier.drain.idle_after


def router_kind(protocols: frozenset[str]) -> type[GcpRouter]:
    """The router for services of these protocols."""
    return PoolingGcpRouter if protocols and protocols <= _BY_REQUEST else GcpRouter
