"""Observes a tier: what one look sees, as events. It asks only what could have changed; unknown yields no event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from changeover.engine.timing import EngineTiming
from changeover.model.chain import Health
from changeover.model.instance import Instance
from changeover.ports import Hop, Membership, Platform, Router, Unknown
from changeover.rollout import events as on
from changeover.rollout.members.fleet import Fleet, Member
from changeover.rollout.members.phases import Phase

_ASKS_READINESS = frozenset({Phase.CREATING, Phase.WARMING, Phase.READY, Phase.ADMITTED})
_ASKS_ROUTER = frozenset({Phase.READY, Phase.LEAVING, Phase.DRAINING, Phase.FAILED})
_COUNTS = frozenset({Phase.LEAVING, Phase.DRAINING})
_STOPPED = frozenset({Phase.DRAINED, Phase.STOPPING})
"""A stop signal is sent, or on its way."""


class Observer:
    """Observes one tier."""

    def __init__(
        self,
        hop: Hop,
        router: Router,
        platform: Platform,
        instances: Mapping[str, Instance],
        now: Callable[[], float],
        *,
        health: Health = Health(),  # noqa: B008 (frozen)
        by_load: bool = False,
        timing: EngineTiming = EngineTiming(),  # noqa: B008 (frozen)
    ) -> None:
        self._timing = timing
        self._hop = hop
        self._router = router
        self._platform = platform
        self._instances = instances
        self._now = now
        self._counts = _COUNTS | {Phase.ADMITTED} if by_load else _COUNTS
        self._health = health
        self._asked: dict[str, float] = {}
        self._misses: dict[str, int] = {}
        self._noted: dict[str, float] = {}

    async def look(self, fleet: Fleet) -> list[on.Event]:
        """Everything seen. Members whose launch is still under way are not looked at.

        Each member is asked what its phase at the beginning of the look calls for. The caller must drop the events of
        members that have moved meanwhile.
        """
        seen = [(m, m.phase, self._instances[m.name]) for m in fleet.where(*Phase) if m.name in self._instances]
        asked = frozenset(m.name for m, phase, _ in seen if phase in _ASKS_ROUTER or _weight_open(m))
        routers, found = await asyncio.gather(
            self._ask_router(asked), asyncio.gather(*(self._look_at(m, phase, i) for m, phase, i in seen))
        )
        events: list[on.Event] = []
        for (member, phase, _), own in zip(seen, found, strict=True):
            for event in own:
                events += (
                    self._counted(member, phase, event, routers) if isinstance(event, on.InFlightSeen) else [event]
                )
            if member.name in asked:
                events += self._routed(member, phase, routers)
        self._noted = {m.name: self._noted[m.name] for m, _, _ in seen if m.name in self._noted}
        return events

    async def _look_at(self, member: Member, phase: Phase, instance: Instance) -> list[on.Event]:
        stopped = phase in _STOPPED
        if phase is not Phase.FAILED and (reason := self._platform.gone(instance, stopped=stopped)) is not None:
            return [on.InstanceGone(self._now(), member.name, reason)]
        events: list[on.Event] = []
        if phase in _ASKS_READINESS and self._is_time(member, phase):
            began = self._now()
            ready = await self._hop.ready(instance, self._health.timeout)
            # A refused connection is an answer at once: so late, there was none.
            late = not ready and self._now() - began >= self._health.timeout
            events += self._readiness(member, phase, ready, late=late)
        if phase in self._counts:
            try:
                events.append(on.InFlightSeen(self._now(), member.name, await self._hop.in_flight(instance)))
            except Unknown as error:
                events += self._unconfirmed(member, str(error), silent=True)
        return events

    def _is_time(self, member: Member, phase: Phase) -> bool:
        """Whether the readiness of the instance is to be checked at this look."""
        if phase is not Phase.ADMITTED:
            return True
        now = self._now()
        if now - self._asked.get(member.name, -self._timing.serving_look) < self._timing.serving_look:
            return False
        self._asked[member.name] = now
        return True

    def _readiness(self, member: Member, phase: Phase, ready: bool, *, late: bool) -> list[on.Event]:
        why = f"it did not answer within {self._health.timeout:g} s, its health.timeout" if late else ""
        if phase is not Phase.ADMITTED:
            now = self._now()
            return [on.InstanceReady(now, member.name) if ready else on.InstanceUnready(now, member.name, why)]
        # One late answer does not make an instance lost; its routers tolerate as many.
        misses = self._misses[member.name] = 0 if ready else self._misses.get(member.name, 0) + 1
        return [on.InstanceUnready(self._now(), member.name, why)] if misses >= self._health.fall else []

    async def _ask_router(self, names: frozenset[str]) -> Mapping[str, Membership] | str:
        if not names:
            return {}
        try:
            return await self._router.membership(names)
        except Unknown as error:
            return str(error)

    def _routed(self, member: Member, phase: Phase, routers: Mapping[str, Membership] | str) -> list[on.Event]:
        if phase is Phase.DRAINING:
            return []
        if isinstance(routers, str):
            return self._unconfirmed(member, routers, silent=True)
        membership = routers[member.name]
        if phase is Phase.ADMITTED:
            return self._weighed(member, membership)
        wanted = phase is Phase.READY
        if membership.admitted if wanted else membership.removed:
            self._noted.pop(member.name, None)
            return [on.RouterConfirmed(self._now(), member.name, admitted=wanted)]
        return self._unconfirmed(member, membership.pending or "its router", silent=membership.silent)

    def _weighed(self, member: Member, membership: Membership) -> list[on.Event]:
        if membership.weight is None:
            return self._unconfirmed(member, membership.pending or "its router", silent=membership.silent)
        return [on.WeightSeen(self._now(), member.name, membership.weight)]

    def _counted(
        self, member: Member, phase: Phase, event: on.InFlightSeen, routers: Mapping[str, Membership] | str
    ) -> list[on.Event]:
        """Add the sessions that routers hold open; unless they answer, an instance is not known to be empty."""
        if phase is Phase.ADMITTED:
            return [event]
        if isinstance(routers, str):
            return self._unconfirmed(member, routers, silent=True)
        seen, sessions = event.in_flight, routers[event.name].sessions or 0
        return [replace(event, in_flight=replace(seen, connections=max(seen.connections, sessions)))]

    def _unconfirmed(self, member: Member, source: str, *, silent: bool) -> list[on.Event]:
        now = self._now()
        since = max(member.since, self._noted.get(member.name, 0.0))
        if now - since < self._timing.unconfirmed_after:
            return []
        self._noted[member.name] = now
        return [on.Unconfirmed(now, member.name, source, silent)]


def _weight_open(member: Member) -> bool:
    """Whether the weight it is to have has not been seen at its routers yet."""
    return member.phase is Phase.ADMITTED and member.weight != member.weight_seen
