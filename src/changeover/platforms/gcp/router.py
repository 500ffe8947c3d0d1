"""The backend services of a tier as its router.

Lame duck and health checks move an instance: no call does. Of a tier with two groups the first admission of a template
makes its group a backend.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import ClassVar, Literal

from changeover.model.chain import Tier
from changeover.model.instance import Instance
from changeover.platforms.gcp.api.services import Service, Services
from changeover.platforms.gcp.backends import Backends
from changeover.platforms.gcp.membership import Health, Seen, ServiceAnswer, judge
from changeover.platforms.gcp.records import TierRecord
from changeover.ports import Membership, Unknown

_BY_REQUEST = frozenset({"HTTP", "HTTPS", "HTTP2", "H2C", "GRPC"})
"""Protocols of services that choose an instance for each request, and keep connections to all of them."""


class GcpRouter:
    """The services of one tier. `exists`: those of the names that its groups have; `is_lame`: what the agent answers;
    `group_of`: the group of an instance."""

    follows_health: ClassVar[Literal[True]] = True

    def __init__(
        self,
        tier: Tier,
        record: Callable[[], TierRecord],
        services: Services,
        exists: Callable[[frozenset[str]], Awaitable[frozenset[str]]],
        is_lame: Callable[[str], Awaitable[bool | None]],
        group_of: Callable[[str], str],
        backends: Backends,
        propagation: float,
    ) -> None:
        self.holds_new = len(tier.groups) > 1
        self._tier = tier
        self._record = record
        self._services = services
        self._exists = exists
        self._is_lame = is_lame
        self._group_of = group_of
        self._backends = backends
        self._propagation = propagation
        self._out: dict[str, float] = {}
        """Since when each lame duck was unhealthy in every service, at every look."""

    async def open(self, keep: Collection[Instance] = ()) -> None:
        """Backend services are the operator's."""

    async def admit(self, instance: Instance, weight: int) -> None:
        """Health checks do it, once its group is a backend."""
        if self.holds_new:
            await self._backends.join(self._tier.name, self._group_of(instance.name))

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
        answers = await asyncio.gather(*(self._answers(one, record) for one in record.services))
        found, now = {}, time.monotonic()
        by_group: dict[str, list[ServiceAnswer]] = {}
        for name, ducks in zip(sorted(names), lame, strict=True):
            group = self._group_of(name)
            if (services := by_group.get(group)) is None:
                services = by_group[group] = [
                    ServiceAnswer.of(one.name, _of(group, its))
                    for one, its in zip(record.services, answers, strict=True)
                    if self._has(one, group)
                ]
            seen = Seen(name in here, ducks, now - self._out.get(name, now))
            found[name], out = judge(name, seen, services, self._propagation)
            if out:
                self._out.setdefault(name, now)
            else:
                self._out.pop(name, None)
        return found

    async def forget(self, name: str) -> None:
        self._out.pop(name, None)

    def _has(self, service: Service, group: str) -> bool:
        """Whether the service is to send that group requests, once it is a backend of it."""
        return True

    async def _answers(self, service: Service, record: TierRecord) -> Mapping[str, Health | str]:
        """Group -> what the service says of its VMs, of the groups that are its backends."""
        if not self.holds_new:
            return {record.serving: await self._health(service, record.groups[record.serving].link)}
        groups = {name: one.link for name, one in record.groups.items() if one.link in service.groups}
        found = dict(
            zip(groups, await asyncio.gather(*(self._health(service, o) for o in groups.values())), strict=True)
        )
        if any(isinstance(answer, str) or not answer for answer in found.values()):
            try:  # a group that another client has taken out, or that a call did not reach, is no backend
                service = await self._backends.read(self._tier.name, service)
            except Unknown:
                return found
        return {name: answer for name, answer in found.items() if groups[name] in service.groups}

    async def _health(self, service: Service, group: str) -> Health | str:
        try:
            return await self._services.health(service, group)
        except Unknown as error:
            return str(error)


def _of(group: str, answers: Mapping[str, Health | str]) -> Health | str | None:
    """What a service says of the VMs of one of its groups, beside those of the others; None: it does not have it."""
    own = answers.get(group)
    if own is None or isinstance(own, str) or not own:
        return own
    return {name: states for one in answers.values() if not isinstance(one, str) for name, states in one.items()}


class PoolingGcpRouter(GcpRouter):
    """Services that choose an instance for each request: an idle connection of theirs carries none."""

    async def pool_idle(self) -> float:
        return self._tier.drain.idle_after


def router_kind(protocols: frozenset[str]) -> type[GcpRouter]:
    """The router for services of these protocols."""
    return PoolingGcpRouter if protocols and protocols <= _BY_REQUEST else GcpRouter
