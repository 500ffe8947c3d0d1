"""Observes a tier: what one look sees, as events. It asks only what could have changed; unknown yields no event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf

from changeover.engine.deaths import DeathCosts
from changeover.engine.timing import EngineTiming
from changeover.engine.witnesses import Witnesses
from changeover.model.connections import Connections
from changeover.model.health import Health
from changeover.model.instance import InFlight, Instance
from changeover.ports import KeepsLogs, Membership, Platform, PoolsConnections, Router, RunningHop, Unknown
from changeover.rollout import events as on
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase

_ASKS_READINESS = frozenset({Phase.CREATING, Phase.WARMING, Phase.READY, Phase.ADMITTED})
_ASKS_ROUTER = frozenset({Phase.READY, Phase.LEAVING, Phase.DRAINING, Phase.FAILED})
_COUNTS = frozenset({Phase.LEAVING, Phase.DRAINING})
_STARTS = frozenset({Phase.CREATING, Phase.WARMING})
_GOLDEN = (5**0.5 - 1) / 2
"""Its multiples, less their whole part, are spread evenly over 0 to 1, however many there are."""
_STOPPED = frozenset({Phase.DRAINED, Phase.STOPPING})
"""A stop signal is sent, or on its way."""


@dataclass(frozen=True)
class _Counts:
    """What the kernel and the instance count; `own` is the reason in words where the instance does not answer."""

    own: InFlight | str | None
    kernel: Connections | None
    checked_here: bool


class Observer:
    """Observes one tier."""

    def __init__(
        self,
        hop: RunningHop,
        router: Router,
        platform: Platform,
        instances: Mapping[str, Instance],
        now: Callable[[], float],
        *,
        health: Health = Health(),  # noqa: B008 (frozen)
        by_load: bool = False,
        idle_after: float = inf,
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
        self._idle_after = idle_after
        self._pools = isinstance(router, PoolsConnections)
        self._deaths = DeathCosts(router, now, timing)
        self._asked: dict[str, float] = {}
        self._misses: dict[str, int] = {}
        self._noted: dict[str, float] = {}
        self._lasts: dict[tuple[str, str], tuple[float, float]] = {}
        """Instance and kind of finding about its counts -> since when it lasts, and when it was last so."""
        self._kernel: dict[str, tuple[float, Connections | None]] = {}
        """What the kernel showed, and when."""
        self._explained: dict[str, tuple[float, str, str]] = {}
        """Instance -> when its log was read, why it was not ready, and both in words."""
        self._count_read: set[str] = set()
        """Instances whose own count was read before they were admitted."""
        self._reported: set[tuple[str, str]] = set()

    async def look(self, fleet: Fleet) -> list[on.Event]:
        """Everything seen. Members whose launch is still under way are not looked at.

        Each member is asked what its phase at the beginning of the look calls for. The caller must drop the events of
        members that have moved meanwhile.
        """
        seen = [(m, m.phase, self._instances[m.name]) for m in fleet.where(*Phase) if m.name in self._instances]
        asked = frozenset(m.name for m, phase, _ in seen if phase in _ASKS_ROUTER or _weight_open(m))
        events: list[on.Event] = []
        gone: Mapping[str, str] = {}
        try:
            gone = await self._ask_gone([(phase, instance) for _, phase, instance in seen if phase is not Phase.FAILED])
        except Unknown as error:  # the next look learns it
            for member in fleet.where(Phase.STOPPING):
                events += self._unconfirmed(member, str(error), silent=True)
        routers, found, _ = await asyncio.gather(
            self._ask_router(asked),
            asyncio.gather(*(self._look_at(m, phase, i, gone.get(i.name)) for m, phase, i in seen)),
            self._deaths.look(frozenset(m.name for m, phase, _ in seen if phase not in _STOPPED)),
        )
        for (member, phase, _), (own, counts) in zip(seen, found, strict=True):
            events += own
            if counts is not None:
                events += self._counted(member, phase, counts, routers)
            if member.name in asked:
                events += self._routed(member, phase, routers)
        events = [await self._costed(one, fleet) if isinstance(one, on.InstanceGone) else one for one in events]
        names = {m.name for m, _, _ in seen}
        self._noted = {name: at for name, at in self._noted.items() if name in names}
        self._lasts = {key: times for key, times in self._lasts.items() if key[0] in names}
        self._kernel = {name: found for name, found in self._kernel.items() if name in names}
        self._explained = {name: found for name, found in self._explained.items() if name in names}
        self._count_read &= names
        self._reported = {key for key in self._reported if key[0] in names}
        return events

    async def ends(self, fleet: Fleet, attempts: int) -> list[on.InstanceGone]:
        """The instances that no longer exist, and what their end cost. Raises Unknown after so many attempts."""
        phases = [phase for phase in Phase if phase is not Phase.FAILED]
        known = [(m.phase, self._instances[m.name]) for m in fleet.where(*phases) if m.name in self._instances]
        while True:
            try:
                gone = await self._ask_gone(known)
                break
            except Unknown:
                if not (attempts := attempts - 1):
                    raise
                await asyncio.sleep(self._timing.resting_look)
        return [await self._costed(on.InstanceGone(self._now(), name, why), fleet) for name, why in gone.items()]

    async def _costed(self, event: on.InstanceGone, fleet: Fleet) -> on.InstanceGone:
        """The end of an instance that may have served, with its cost: before its routers forget it."""
        member = fleet.get(event.name)
        if member is None or not member.may_carry:
            return event
        return replace(event, cost=await self._deaths.of(event.name))

    async def _ask_gone(self, asked: list[tuple[Phase, Instance]]) -> Mapping[str, str]:
        """Name -> why it no longer exists. Raises Unknown."""
        stopped = frozenset(instance.name for phase, instance in asked if phase in _STOPPED)
        return await self._platform.gone([instance for _, instance in asked], stopped) if asked else {}

    async def _look_at(
        self, member: Member, phase: Phase, instance: Instance, gone: str | None
    ) -> tuple[list[on.Event], _Counts | None]:
        if gone is not None:
            return [on.InstanceGone(self._now(), member.name, gone)], None
        events: list[on.Event] = []
        if phase in _ASKS_READINESS and self._is_time(member, phase):
            began = self._now()
            why = await self._hop.not_ready(instance, self._health.timeout)
            # A refused connection is an answer at once: so late, there was none.
            if why and self._now() - began >= self._health.timeout:
                why = f"it did not answer within {self._health.timeout:g} s, its health.timeout ({why})"
            elif not why and phase in _STARTS and (why := await self._cannot_count(instance)):
                events += self._unconfirmed(member, why, silent=False)
            events += self._readiness(member, phase, self._with_log(instance, why))
        return events, await self._count(instance) if phase in self._counts else None

    def _with_log(self, instance: Instance, why: str) -> str:
        """Why it is not ready, with the end of its log; from the last look at that while the reason is the same."""
        if not why or not isinstance(self._platform, KeepsLogs):
            return why
        at, before, text = self._explained.get(instance.name, (-inf, "", ""))
        if before != why or self._now() - at >= self._timing.log_look:
            at, text = self._now(), self._platform.with_log(instance, why)
            self._explained[instance.name] = at, why, text
        return text

    async def _cannot_count(self, instance: Instance) -> str:
        """Why its own count could not be read at a drain: its template is wrong, and must not be admitted."""
        if instance.name in self._count_read:
            return ""
        try:
            await self._hop.in_flight(instance)
        except Unknown as error:
            return str(error)
        self._count_read.add(instance.name)
        return ""

    async def _count(self, instance: Instance) -> _Counts:
        kernel = await self._connections(
            instance
        )  # before the instance is asked: its count includes what these brought
        own: InFlight | str | None
        try:
            own = await self._hop.in_flight(instance)
        except Unknown as error:
            own = str(error)
        return _Counts(own, kernel, instance.address == instance.control)

    async def _connections(self, instance: Instance) -> Connections | None:
        now = self._now()
        at, kernel = self._kernel.get(instance.name, (-inf, None))
        if kernel is None or not kernel.routers or now - at >= self._timing.kernel_look:
            kernel = await self._platform.connections(instance)
            self._kernel[instance.name] = now, kernel
        return kernel

    def _is_time(self, member: Member, phase: Phase) -> bool:
        """Whether the readiness of the instance is to be checked at this look."""
        now, pause = self._now(), self._timing.starting_look
        if phase is Phase.ADMITTED:
            pause = max(self._timing.serving_look, self._health.steady)
        # Not all of those that serve at one look: it would take so long that those that drain are held up.
        spread = _GOLDEN * len(self._asked) % 1 if phase is Phase.ADMITTED else 0.0
        if now - self._asked.setdefault(member.name, now - pause * (1 - spread) if spread else -inf) < pause:
            return False
        self._asked[member.name] = now
        return True

    def _readiness(self, member: Member, phase: Phase, why: str) -> list[on.Event]:
        if phase is not Phase.ADMITTED:
            now = self._now()
            return [on.InstanceUnready(now, member.name, why) if why else on.InstanceReady(now, member.name)]
        # One late answer does not make an instance lost; its routers tolerate as many.
        misses = self._misses[member.name] = self._misses.get(member.name, 0) + 1 if why else 0
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
        self, member: Member, phase: Phase, counts: _Counts, routers: Mapping[str, Membership] | str
    ) -> list[on.Event]:
        """The highest count of all witnesses; unless routers answer, an instance is not known to be empty."""
        draining = phase is not Phase.ADMITTED
        if draining and isinstance(routers, str):
            return self._unconfirmed(member, routers, silent=True)
        sessions = routers[member.name].sessions if draining and not isinstance(routers, str) else None
        own = None if isinstance(counts.own, str) else counts.own
        # A connection is as old as the look that found it: one from the removal itself may be younger by a whole pause.
        pause = self._timing.busy_look + self._timing.kernel_look
        removed_for = self._now() - member.since - pause if phase is Phase.DRAINING else 0.0
        seen = Witnesses(own, counts.kernel, sessions, counts.checked_here, self._pools, self._idle_after, removed_for)
        silent = isinstance(counts.own, str)
        waited = self._lasting(member.name, "silent", silent)
        if not seen.known or (silent and waited < self._timing.unconfirmed_after):
            reason = counts.own if isinstance(counts.own, str) else "the kernel, which shows no connections here"
            return self._unconfirmed(member, reason, silent=True)
        notes = self._notes(member.name, counts, seen) if draining else ()
        return [on.InFlightSeen(self._now(), member.name, seen.highest, notes)]

    def _notes(self, name: str, counts: _Counts, seen: Witnesses) -> tuple[str, ...]:
        """What lasts and an operator must know, each once."""
        others = counts.kernel.others if counts.kernel else {}
        held = ", ".join(f"{count} of {owner}" for owner, count in others.items())
        silent = counts.own if isinstance(counts.own, str) else ""
        findings = {
            "silent": silent and f"the instance does not count what is in flight, others do: {silent}; {seen}",
            "differ": seen.differ and f"counts of what is in flight differ, the highest holds: {seen}",
            "others": held and f"connections of processes that are no routers are not waited for: {held}",
        }
        found = []
        for kind, text in findings.items():
            long = self._lasting(name, kind, bool(text)) >= self._timing.unconfirmed_after
            if text and long and (name, kind) not in self._reported:
                self._reported.add((name, kind))
                found.append(text)
        return tuple(found)

    def _lasting(self, name: str, kind: str, holds: bool) -> float:
        """Seconds for which this has been so. A server of several processes answers each time with another count."""
        if not holds:
            return 0.0
        now = self._now()
        since, last = self._lasts.get((name, kind), (now, now))
        if now - last > self._timing.unconfirmed_after:
            since = now
        self._lasts[name, kind] = since, now
        return now - since

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
