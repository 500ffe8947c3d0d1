"""One replacement of each tier as a timeline: what happens when, and which uploads in flight survive it.

Pure. What the files do not say makes a cell unknown, unless a limit that they do say is already too short.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import PurePosixPath

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.google.facts import drain, services_in_front
from changeover.audit.google.machines import machines, scheduling
from changeover.audit.google.resources import Resource
from changeover.audit.hops.app import App
from changeover.audit.hops.envoy import Envoy
from changeover.audit.hops.haproxy import Haproxy
from changeover.audit.hops.kong import Kong
from changeover.audit.hops.nginx import Nginx
from changeover.audit.limits import occupied
from changeover.audit.rules.machine.vm02 import POWER_OFF
from changeover.audit.setting import Setting
from changeover.audit.setting import unknown as not_known
from changeover.audit.stops import drains
from changeover.audit.view import Hop, Signal, StopPath, View
from changeover.conf.nginx import values
from changeover.conf.place import Place
from changeover.conf.tree import Map
from changeover.model.chain import Drain
from changeover.model.units import parse_seconds

NEVER = float("inf")
_SIZES = (0.02, 0.2, 1.0, 5.0)
_RATES = (0.25, 1.0, 4.0, 16.0, 64.0)
"""Sizes and rates of the table, as multiples of the assumed ones."""


@dataclass(frozen=True)
class Moment:
    """`at`: seconds after the instance begins to leave. `cuts`: whether requests in flight are cut then."""

    at: float
    what: str
    text: str
    place: Place
    cuts: bool = False


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
    """Backend services whose hop is not known, hops from the edge inward, and tiers of a chain file."""
    sizes = tuple(max(1, int(asked.upload * one)) for one in _SIZES)
    rates = tuple(asked.client_rate * one for one in _RATES)
    led_to = {id(service) for hop in view.hops for service in services_in_front(view, hop)}
    services = [one for one in view.google.of("backendService") if id(one) not in led_to]
    tiers = [_of_service(view, one, asked, sizes, rates) for one in services]
    tiers += [_of_hop(view, hop, asked, sizes, rates) for hop in _inward(view)]
    tiers += [_of_tier(tier, asked, sizes, rates) for chain in view.chains for tier in chain.tiers]
    return Timeline(tuple(tiers), sizes, rates)


def _inward(view: View) -> list[Hop]:
    def depth(hop: Hop) -> int:
        return max((1 + depth(link.front) for link in view.in_front(hop)), default=0)

    return sorted(view.hops, key=depth)


def _of_hop(view: View, hop: Hop, asked: Assumptions, sizes: tuple[int, ...], rates: tuple[float, ...]) -> Replacement:
    services = services_in_front(view, hop)
    moments, missing = _sorted([*_drained(services, view), *_stopped(hop, _stop(view, hop), _start(services))])
    cut = min((one.at for one in moments if one.cuts), default=NEVER)
    pinned = _pinned(view, hop)
    if pinned.value is None and cut != NEVER:
        missing.append(_lacking(pinned))
    uploads = []
    for size, rate in product(sizes, rates):
        seconds = occupied(view, hop, replace(asked, upload=size, client_rate=rate))
        whole = seconds + (pinned.value or 0.0)
        uploads.append(Upload(size, rate, seconds, _survives(whole, cut, missing, _start(services))))
    return Replacement(
        hop.name,
        hop.software,
        hop.place,
        tuple(dict.fromkeys(link.front.name for link in view.in_front(hop))),
        view.buffered(hop),
        tuple(moments),
        tuple(missing),
        tuple(uploads),
    )


def _of_service(
    view: View, service: Resource, asked: Assumptions, sizes: tuple[int, ...], rates: tuple[float, ...]
) -> Replacement:
    """The instances behind a load balancer of Google Cloud, whatever runs on them."""
    stop = "what runs on its instances, and how that is stopped once the drain is over"
    moments, missing = _sorted([*_drained([service], view), stop])
    cut = min((one.at for one in moments if one.cuts), default=NEVER)
    uploads = []
    for size, rate in product(sizes, rates):
        seconds = replace(asked, upload=size, client_rate=rate).request_seconds
        uploads.append(Upload(size, rate, seconds, _survives(seconds, cut, missing, _start([service]))))
    name = f"instances of {service.object}"
    return Replacement(name, "google", service.place, (), False, tuple(moments), tuple(missing), tuple(uploads))


def _sorted(events: Sequence[Moment | str]) -> tuple[list[Moment], list[str]]:
    """What happens, in order, and what is missing to know more."""
    moments = sorted((one for one in events if isinstance(one, Moment)), key=lambda one: one.at)
    return moments, [one for one in events if isinstance(one, str)]


def _survives(seconds: float, cut: float, missing: Sequence[str], drained: float) -> bool | None:
    """`drained`: until then only the balancer acts, and it lets requests finish, whatever is unknown of the stop."""
    if cut < seconds:
        return False
    return None if missing and seconds > drained else True


def _start(services: Sequence[Resource]) -> float:
    """When the stop of an instance begins: after the drain of its load balancer; 0 where that is unknown."""
    return max((drain(one).value or 0.0 for one in services), default=0.0)


def _drained(services: Sequence[Resource], view: View) -> Iterator[Moment | str]:
    for service in services:
        found = drain(service)
        yield Moment(0.0, "leaves its load balancer", service.object, service.place)
        if found.value is None:
            yield _lacking(found)
        else:
            yield Moment(found.value, "drain ends", found.text, found.place)
    if services and (power := _power_off(view)) is not None:
        if power.value is None:
            yield _lacking(power)
        else:
            yield Moment(_start(services) + power.value, "power off", power.text, power.place, cuts=True)


def _lacking(found: Setting[float]) -> str:
    return f"{found.text}: {found.missing}" if found.text else found.missing


def _power_off(view: View) -> Setting[float] | None:
    """How long a machine has once it is deleted; None if the files describe none, or several."""
    found = machines(view.google)
    if len(found) != 1:
        return None
    path = (*scheduling(found[0]), "gracefulShutdown")
    on = found[0].flag((*path, "enabled"), False, "false")
    if not on.value:
        value = None if on.value is None else POWER_OFF
        return Setting(value, on.place, f"{found[0].object} has no graceful shutdown", on.missing)
    return found[0].number((*path, "maxDuration", "seconds"), 600.0, "600")


def _stop(view: View, hop: Hop) -> StopPath | str:
    """How the hop is stopped; or what is missing."""
    found = view.stops_of(hop.software)
    for near in (_folder, _file):  # of several, the one beside it
        if len(found) > 1:
            found = [one for one in found if near(one.place) == near(hop.place)] or found
    if not found:
        return f"how {hop.software} is stopped: its systemd unit, Dockerfile or compose file"
    if len(found) > 1:
        return f"which of {', '.join(one.object for one in found)} stops it"
    return found[0] if found[0].signals else found[0].missing or "the signal that stops it"


def _folder(place: Place) -> str:
    return str(PurePosixPath(place.file).parent)


def _file(place: Place) -> str:
    return place.file


def _stopped(hop: Hop, stop: StopPath | str, start: float) -> Iterator[Moment | str]:
    """`stop`: what is missing, if it is not known. The software's own grace bounds every stop."""
    grace = _grace(hop)
    ends = NEVER if grace.value is None else grace.value
    hard: list[Signal] = []
    if isinstance(stop, str):
        yield stop
    else:
        hard = [one for one in stop.signals if not drains(hop.software, one)]
        for one in stop.signals:
            name = "is asked to drain" if one.name == "DRAIN" else f"SIG{one.name}"
            yield Moment(start + one.at, name, one.text, one.place, cuts=one in hard)
        if not hard:
            yield stop.missing or "the time until SIGKILL"
        if stop.signals[0] in hard:
            return
        ends += stop.signals[0].at
    if grace.value is None:
        yield _lacking(grace)
    elif ends != NEVER and (not hard or ends < hard[0].at):
        yield Moment(start + ends, "grace ends", grace.text, grace.place, cuts=True)


def _grace(hop: Hop) -> Setting[float]:
    """How long the software itself lets requests finish after the graceful signal."""
    match hop:
        case Nginx():
            return hop.main.setting("worker_shutdown_timeout", values.seconds, NEVER, "without a limit")
        case Haproxy():
            return hop.hard_stop
        case Envoy():
            return Setting(NEVER, hop.place, "Envoy drains until it is stopped")
        case App():
            return hop.graceful
        case Kong():
            return hop.setting("nginx_main_worker_shutdown_timeout", values.seconds, NEVER, "without a limit")
        case _:
            return not_known(hop.place, "", f"how long {hop.software} lets its requests finish")


def _pinned(view: View, hop: Hop) -> Setting[float]:
    """How long a connection through a TCP proxy takes new requests, which the proxy cannot tell from old ones."""
    if hop.sees_requests:
        return Setting(0.0, hop.place, "")
    lives = [link.target.pool_lifetime for link in view.in_front(hop)]
    if lacking := [one for one in lives if one.value is None]:
        return lacking[0]
    if not lives:
        return not_known(hop.place, "", "the hop in front: how long it uses a connection for new requests")
    return max(lives, key=lambda one: one.value or 0.0)


def _of_tier(tier: Map, asked: Assumptions, sizes: tuple[int, ...], rates: tuple[float, ...]) -> Replacement:
    """A tier of a chain file: changeover drains it, and stops it when nothing is in flight."""
    drained, text = tier.get("drain"), tier.text("drain", "deadline")
    where = drained.keys.get("deadline", tier.place) if isinstance(drained, Map) else tier.place
    cuts = (tier.text("drain", "policy") or Drain().policy) == "cut"
    moments, missing, cut = [Moment(0.0, "leaves its routers", "drain", tier.place)], [], NEVER
    try:
        deadline = float(parse_seconds(text)) if text is not None else Drain().deadline
    except ValueError:
        missing += ["drain.deadline as a time with its unit"] if cuts else []
    else:
        shown = f"drain.deadline {text}" if text else f"drain.deadline is not set, so it is {words.span(deadline)}"
        moments.append(Moment(deadline, "deadline", shown if cuts else f"{shown}: reported, cuts nothing", where, cuts))
        cut = deadline if cuts else NEVER
    uploads = []
    for size, rate in product(sizes, rates):
        seconds = replace(asked, upload=size, client_rate=rate).request_seconds
        uploads.append(Upload(size, rate, seconds, _survives(seconds, cut, missing, 0.0)))
    name, kind = tier.text("name") or "", tier.text("kind") or ""
    return Replacement(f"tier {name}", kind, tier.place, (), False, tuple(moments), tuple(missing), tuple(uploads))
