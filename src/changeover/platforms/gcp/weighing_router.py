"""Two backend services and the weights of a URL map between them as the router of a tier.

Each instance has a weight, in its record; the weight of a service is the sum over the instances of its group. Refuses
to send a group requests before its instances are healthy, and to let its last one leave before the group gets none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import ClassVar, Literal

from changeover.doctor.traffic import shares
from changeover.kit.shared import Shared
from changeover.model.chain import Tier
from changeover.model.instance import Instance
from changeover.platforms.gcp import weights
from changeover.platforms.gcp.api.services import Service, Services
from changeover.platforms.gcp.api.url_maps import UrlMaps
from changeover.platforms.gcp.backends import Backends
from changeover.platforms.gcp.membership import HEALTHY, Health
from changeover.platforms.gcp.records import Records, TierRecord
from changeover.platforms.gcp.router import PoolingGcpRouter
from changeover.ports import Membership, Restored, Unknown


class WeighingGcpRouter(PoolingGcpRouter):
    """Of one tier. `url_map`: its name; `records`: they have the weights of the instances."""

    weighs: ClassVar[Literal["requests"]] = "requests"
    silent: ClassVar[Sequence[str]] = ()

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
        url_map: str,
        maps: UrlMaps,
        records: Records,
    ) -> None:
        super().__init__(tier, record, services, exists, is_lame, group_of, backends, propagation)
        self._map = url_map
        self._maps = maps
        self._records = records
        self._lock = asyncio.Lock()
        self._changes = Shared[str, None, None](self._change)
        self._departures = Shared[str, None, None](self._depart)
        self._shares: Mapping[str, int] | None = None
        """Group -> its share, as the map was read last; None: it is not known."""
        self._none_since: dict[str, float] = {}
        """Group -> since when every look found that it gets nothing."""
        self._healthy_since: dict[str, float] = {}
        self._sound_since: dict[str, float | None] = {}
        """Group -> since when it has had a healthy instance; None: it has none. Missing: no look was answered yet."""

    async def admit(self, instance: Instance, weight: int) -> None:
        if self._weight(instance.name) != weight:
            since = self._healthy_since.get(instance.name)
            if since is None or time.monotonic() - since < self._propagation:
                raise Unknown(f"the backend service of {instance.name}, which must find it healthy first")
        await self.weigh(instance, weight)

    async def weigh(self, instance: Instance, weight: int) -> None:
        self._keep(instance.name, weight)
        await self._changes.ask(self._map, instance.name, None)

    async def remove(self, instance: Instance) -> None:
        await self.weigh(instance, 0)

    async def forget(self, name: str) -> None:
        await super().forget(name)
        self._healthy_since.pop(name, None)

    async def may_leave(self, instance: Instance) -> None:
        """Raises Unknown while requests would have no other instance: its group still gets some, and it is the last."""
        await self._departures.ask(self._group_of(instance.name), instance.name, None)

    async def _depart(self, group: str, names: Collection[str]) -> Mapping[str, Exception | None]:
        """Of those that leave at once, the last ones must see that the first ones do."""
        (service,) = (one for one in self._record().services if self._has(one, group))
        answers = await self._services.health(service, self._record().groups[group].link)
        # No await from here on.
        others = {
            name
            for name, states in answers.items()
            if states and all(one == HEALTHY for one in states) and self._weight(name)
        }
        found: dict[str, Exception | None] = {}
        for name in names:
            self._keep(name, 0)
            others.discard(name)
            may = others or self._gets_nothing(group)
            text = f"URL map {self._map}, which still sends requests to the group of {name}"
            found[name] = None if may else Unknown(text)
        return found

    async def membership(self, names: frozenset[str]) -> Mapping[str, Membership]:
        """As the health in the service of each group and the weights say. Changes nothing: `status` asks it, too."""
        if not names:
            return {}
        await self._look()
        found = await super().membership(names)
        now, agreed, judged = time.monotonic(), self._shares == self._wanted(), {}
        for name, its in found.items():
            if its.admitted:
                self._healthy_since.setdefault(name, now)
            else:
                self._healthy_since.pop(name, None)
            group = self._group_of(name)
            share = None if self._shares is None else self._shares.get(group)
            weight = self._weight(name) if agreed else None
            none_for = now - self._none_since.get(group, now)
            judged[name] = weights.judge_share(its, share, none_for, weight, self._propagation)
        return judged

    async def lost(self) -> bool:
        links = {group: one.link for group, one in self._record().groups.items()}
        asked = [self._health(one, links[group]) for group in self._tier.groups for one in self._services_of(group)]
        await asyncio.gather(self._look(), *asked)
        return self._shares is not None and self._shares != self._wanted()

    async def restore(self) -> Sequence[Restored]:
        """Set weights again that another client has set, or that lead to a group without a healthy instance."""
        if not await self.lost() or not (changed := await self._apply()):
            return ()
        was, now = (", ".join(f"{group} {weight}" for group, weight in one.items()) for one in changed)
        return (Restored(f"URL map {self._map}: the weights of its groups were {was}; they are {now} now"),)

    async def _look(self) -> None:
        """Read the map."""
        try:
            self._see(shares(await self._maps.get(self._map), self._paths()))
        except Unknown:
            self._see(None)

    def _has(self, service: Service, group: str) -> bool:
        return service.name in self._tier.services_of(group)

    async def _health(self, service: Service, group: str) -> Health | str:
        """Also note which group has an instance that can answer."""
        answer = await super()._health(service, group)
        name = next(name for name, one in self._record().groups.items() if one.link == group)
        if not isinstance(answer, str):
            if any(states and all(one == HEALTHY for one in states) for states in answer.values()):
                # Before the first answer of its service, a group keeps the share that it had: so it does after it.
                self._sound_since[name] = self._sound_since.get(name, -inf) or time.monotonic()
            else:
                self._sound_since[name] = None
        return answer

    async def _change(self, url_map: str, names: Mapping[str, None]) -> Mapping[str, None]:
        """Weights that are given together change the map together."""
        await self._apply()
        return names

    async def _apply(self) -> tuple[Mapping[str, int], Mapping[str, int]] | None:
        """The shares before and after; None: they were so already. Raises Unknown."""
        async with self._lock:
            wanted, before = self._wanted(), self._shares
            if not wanted or wanted == before:
                return None
            paths = self._paths()
            found = await self._maps.set_weights(self._map, {paths[group]: one for group, one in wanted.items()})
            self._see(shares(found, paths))
            return before or {}, wanted

    def _see(self, shares: Mapping[str, int] | None) -> None:
        self._shares, now = shares, time.monotonic()
        for group in self._tier.groups:
            if shares is not None and shares.get(group) == 0:
                self._none_since.setdefault(group, now)
            else:
                self._none_since.pop(group, None)

    def _gets_nothing(self, group: str) -> bool:
        since = self._none_since.get(group)
        return since is not None and time.monotonic() - since >= self._propagation

    def _wanted(self) -> Mapping[str, int]:
        totals = dict.fromkeys(self._tier.groups, 0)
        for record in self._records.vms():
            if record.tier == self._tier.name:
                totals[self._group_of(record.name)] += record.weight
        sound = {group: total for group, total in totals.items() if self._is_sound(group)}
        if any(sound.values()):  # a service without a healthy instance would answer its share with errors
            totals |= dict.fromkeys(totals.keys() - sound.keys(), 0)
        return weights.split(totals) or self._shares or {}

    def _is_sound(self, group: str) -> bool:
        """Whether it has a healthy instance, and every proxy knows it; or nothing is known of it."""
        if group not in self._sound_since:
            return True
        since = self._sound_since[group]
        return since is not None and time.monotonic() - since >= self._propagation

    def _paths(self) -> Mapping[str, str]:
        """Group -> the path of its service."""
        return {group: one.path for group in self._tier.groups for one in self._services_of(group)}

    def _services_of(self, group: str) -> list[Service]:
        return [one for one in self._record().services if self._has(one, group)]

    def _weight(self, name: str) -> int:
        record = self._records.vm(name)
        return record.weight if record is not None else 0

    def _keep(self, name: str, weight: int) -> None:
        if (record := self._records.vm(name)) is not None and record.weight != weight:
            self._records.keep_vm(replace(record, weight=weight))
