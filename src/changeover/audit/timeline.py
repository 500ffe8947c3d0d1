"""One replacement of each tier as a timeline: what happens when, and which uploads in flight survive it.

Pure. What the files do not say makes a cell unknown, unless a limit that they do say is already too short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import product

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.google.facts import services_in_front
from changeover.audit.google.resources import Resource
from changeover.audit.limits import connection_life, occupied
from changeover.audit.moments import (
    NEVER,
    Moment,
    balancer_drain,
    lacking,
    signals,
    stop_begins,
    stop_of,
    stopped,
)
from changeover.audit.stops import is_known
from changeover.audit.view import Hop, StopPath, View
from changeover.conf.place import Place
from changeover.conf.tree import Map
from changeover.model.chain import Drain
from changeover.model.units import parse_seconds

_SIZES = (0.02, 0.2, 1.0, 5.0)
_RATES = (0.25, 1.0, 4.0, 16.0, 64.0)
"""Sizes and rates of the table, as multiples of the assumed ones."""


@dataclass(frozen=True)
class Upload:
    """`seconds`: how long it occupies the tier. `survives` is None where that is unknown."""

    size: int
    rate: float
    seconds: float
    survives: bool | None


@dataclass(frozen=True)
class Replacement:
    """The replacement of one instance of a tier. `behind`: the hops in front. `unknown`: what is missing."""

    name: str
    software: str
    place: Place
    behind: tuple[str, ...]
    buffered: bool
    moments: tuple[Moment, ...]
    unknown: tuple[str, ...]
    uploads: tuple[Upload, ...]

    @property
    def cut(self) -> float:
        """Seconds after which what is in flight is cut; infinite if nothing that is known cuts it."""
        return min((one.at for one in self.moments if one.cuts), default=NEVER)


@dataclass(frozen=True)
class Timeline:
    tiers: tuple[Replacement, ...]
    sizes: tuple[int, ...]
    rates: tuple[float, ...]


def timeline(view: View, asked: Assumptions) -> Timeline:
    """Backend services whose hop is not known, hops from the edge inward, stops of hops that no file describes, and
    tiers of a chain file."""
    grid = _Grid(
        asked,
        tuple(max(1, int(asked.upload * one)) for one in _SIZES),
        tuple(asked.client_rate * one for one in _RATES),
    )
    led_to = {id(service) for hop in view.hops for service in services_in_front(view, hop)}
    services = [one for one in view.google.of("backendService") if id(one) not in led_to]
    tiers = [_of_service(view, one, grid) for one in services]
    tiers += [_of_hop(view, hop, grid) for hop in _inward(view)]
    tiers += [_of_stop(stop, grid) for stop in _without_hop(view)]
    for chain in view.chains:
        tiers += [_of_tier(tier, front, grid) for front, tier in zip((None, *chain.tiers), chain.tiers, strict=False)]
    return Timeline(tuple(tiers), grid.sizes, grid.rates)


@dataclass(frozen=True)
class _Grid:
    """The uploads of every tier."""

    asked: Assumptions
    sizes: tuple[int, ...]
    rates: tuple[float, ...]

    def replacement(
        self,
        name: str,
        software: str,
        place: Place,
        events: Iterable[Moment | str],
        seconds: Callable[[Assumptions], float],
        *,
        behind: tuple[str, ...] = (),
        buffered: bool = False,
        pinned: float = 0.0,
        drained: float = 0.0,
    ) -> Replacement:
        """`events`: what happens, and what is missing to know more. `seconds`: that an upload occupies the tier.

        `pinned`: seconds in which a connection takes further requests. `drained`: until then only the balancer acts,
        and it lets requests finish, whatever is unknown of the stop.
        """
        found = list(events)
        moments = sorted((one for one in found if isinstance(one, Moment)), key=lambda one: one.at)
        missing = [one for one in found if isinstance(one, str)]
        has = min((one.at - one.late for one in moments if one.cuts), default=NEVER)
        uploads = []
        for size, rate in product(self.sizes, self.rates):
            needs = seconds(replace(self.asked, upload=size, client_rate=rate))
            whole = needs + pinned
            survives = False if has < whole else None if missing and whole > drained else True
            uploads.append(Upload(size, rate, needs, survives))
        return Replacement(name, software, place, behind, buffered, tuple(moments), tuple(missing), tuple(uploads))


def _inward(view: View) -> list[Hop]:
    def depth(hop: Hop) -> int:
        return max((1 + depth(link.front) for link in view.in_front(hop)), default=0)

    return sorted(view.hops, key=depth)


def _of_hop(view: View, hop: Hop, grid: _Grid) -> Replacement:
    services = services_in_front(view, hop)
    events = [*balancer_drain(services, view), *stopped(hop, stop_of(view, hop), stop_begins(services))]
    pinned = connection_life(view, hop)
    if pinned.value is None and any(isinstance(one, Moment) and one.cuts for one in events):
        events.append(lacking(pinned))
    return grid.replacement(
        hop.name,
        hop.software,
        hop.place,
        events,
        lambda asked: occupied(view, hop, asked),
        behind=tuple(dict.fromkeys(link.front.name for link in view.in_front(hop))),
        buffered=view.buffered(hop),
        pinned=pinned.value or 0.0,
        drained=stop_begins(services),
    )


def _of_service(view: View, service: Resource, grid: _Grid) -> Replacement:
    """The instances behind a load balancer of Google Cloud, whatever runs on them."""
    stop = "what runs on its instances, and how that is stopped once the drain is over"
    events = [*balancer_drain([service], view), stop]
    name, seconds = f"instances of {service.object}", _of_client
    return grid.replacement(name, "google", service.place, events, seconds, drained=stop_begins([service]))


def _without_hop(view: View) -> list[StopPath]:
    """Stops of software whose own configuration is not given. Of several of one object, those that are known."""
    described = {hop.software for hop in view.hops}
    found = [one for one in view.stops if one.software not in described]
    known = {(one.object, one.place) for one in found if one.signals}
    return [one for one in found if one.signals or (one.object, one.place) not in known]


def _of_stop(stop: StopPath, grid: _Grid) -> Replacement:
    events: list[Moment | str] = [] if stop.signals else [stop.missing or "the signal that stops it"]
    events += [*signals(stop, "", 0.0)]
    if is_known(stop.software):
        events.append(f"how long {stop.software} itself lets requests finish: its configuration")
    return grid.replacement(stop.object, stop.software or "server", stop.place, events, _of_client)


def _of_client(asked: Assumptions) -> float:
    return asked.request_seconds


def _of_tier(tier: Map, front: Map | None, grid: _Grid) -> Replacement:
    """A tier of a chain file: changeover drains it, and stops it when nothing is in flight."""
    drained, text = tier.get("drain"), tier.text("drain", "deadline")
    where = drained.keys.get("deadline", tier.place) if isinstance(drained, Map) else tier.place
    cuts = (tier.text("drain", "policy") or Drain().policy) == "cut"
    events: list[Moment | str] = [Moment(0.0, "leaves its routers", "drain", tier.place)]
    try:
        deadline = float(parse_seconds(text)) if text is not None else Drain().deadline
    except ValueError:
        events += ["drain.deadline as a time with its unit"] if cuts else []
    else:
        shown = f"drain.deadline {text}" if text else f"drain.deadline is not set, so it is {words.span(deadline)}"
        waits = "" if cuts else ": reported, cuts nothing; it gets its signal when nothing is in flight"
        events.append(Moment(deadline, "deadline", shown + waits, where, cuts))
    name, kind = tier.text("name") or "", tier.text("kind") or ""
    behind = (f"tier {front.text('name')}",) if front is not None else ()
    return grid.replacement(f"tier {name}", kind, tier.place, events, _of_client, behind=behind)
