"""What happens to an instance that is replaced: the drain of its balancer, its signals, its own grace, SIGKILL.

Pure. A string among the moments is what is missing to know more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from changeover.audit.google.facts import drain
from changeover.audit.google.machines import machines, scheduling
from changeover.audit.google.resources import Resource
from changeover.audit.hops.app import App
from changeover.audit.hops.envoy import Envoy
from changeover.audit.hops.haproxy import Haproxy
from changeover.audit.hops.kong import Kong
from changeover.audit.hops.nginx import Nginx
from changeover.audit.rules.balancer.gcp02 import SPARE
from changeover.audit.rules.machine.vm02 import POWER_OFF
from changeover.audit.setting import Setting
from changeover.audit.setting import unknown as not_known
from changeover.audit.stops import THREADS_FINISH, drains, is_known
from changeover.audit.view import Hop, Signal, StopPath, View
from changeover.conf.nginx import values
from changeover.conf.place import Place

NEVER = float("inf")


@dataclass(frozen=True)
class Moment:
    """`at`: seconds after the instance begins to leave. `cuts`: whether requests in flight are cut then.

    `late`: seconds after the instance begins to leave in which it still gets new requests; a request has so much less.
    """

    at: float
    what: str
    text: str
    place: Place
    cuts: bool = False
    late: float = 0.0


def stop_begins(services: Sequence[Resource]) -> float:
    """When the stop of an instance begins: after the drain of its load balancer; 0 where that is unknown."""
    return max((drain(one).value or 0.0 for one in services), default=0.0)


def balancer_drain(services: Sequence[Resource], view: View) -> Iterator[Moment | str]:
    for service in services:
        found = drain(service)
        yield Moment(0.0, "leaves its load balancer", service.object, service.place)
        if found.value is None:
            yield lacking(found)
        else:
            yield Moment(found.value, "drain ends", found.text, found.place, cuts=True, late=min(SPARE, found.value))
    if services and (power := _power_off(view)) is not None:
        if power.value is None:
            yield lacking(power)
        else:
            yield Moment(stop_begins(services) + power.value, "power off", power.text, power.place, cuts=True)


def lacking(found: Setting[float]) -> str:
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


def stop_of(view: View, hop: Hop) -> StopPath | str:
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


def stopped(hop: Hop, stop: StopPath | str, begins: float) -> Iterator[Moment | str]:
    """`stop`: what is missing, if it is not known. The software's own grace bounds every stop."""
    grace = _grace(hop)
    ends = NEVER if grace.value is None else grace.value
    hard, late = NEVER, 0.0
    if isinstance(stop, str):
        yield stop
    else:
        found = list(signals(stop, hop.worker_class.value if isinstance(hop, App) else "", begins))
        yield from found
        hard = min((one.at for one in found if isinstance(one, Moment) and one.cuts), default=NEVER)
        if hard == begins + stop.signals[0].at:
            return
        late = stop.signals[0].at
    if grace.value is None:
        yield lacking(grace)
    elif ends != NEVER and begins + late + ends < hard:
        yield Moment(begins + late + ends, "grace ends", grace.text, grace.place, cuts=True, late=late)


def signals(stop: StopPath, worker_class: str | None, begins: float) -> Iterator[Moment | str]:
    """What an instance gets while it is stopped. `worker_class`: of gunicorn, None where it is not known."""
    ends = False
    for one in stop.signals:
        name = "is asked to drain" if one.name == "DRAIN" else f"SIG{one.name}"
        missing = _effect_missing(stop.software, one, worker_class)
        cuts = not missing and not drains(stop.software, one, worker_class)
        ends = ends or cuts
        yield Moment(begins + one.at, name, one.text, one.place, cuts, stop.signals[0].at)
        if missing:
            yield missing
    if stop.signals and (stop.missing or not ends):
        yield stop.missing or "the time until SIGKILL"


def _effect_missing(software: str, signal: Signal, worker_class: str | None) -> str:
    """What is missing to know whether requests are cut at a signal; empty if that is known."""
    if signal.name == "KILL":
        return ""
    if not is_known(software):
        return f"what {software or 'the server'} does at SIG{signal.name}"
    if software == "gunicorn" and worker_class is None and signal.name in THREADS_FINISH:
        return (
            f"the class of the workers: at SIG{signal.name} gthread finishes its requests, and the others end at once"
        )
    return ""


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
