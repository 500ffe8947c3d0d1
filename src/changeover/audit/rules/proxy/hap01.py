"""HAP01: HAProxy is stopped before its requests have ended."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Outcome, Severity, unknown, violated
from changeover.audit.hops.haproxy import Haproxy
from changeover.audit.limits import connection_life, occupied, upload_fits
from changeover.audit.rule import Rule
from changeover.audit.setting import Setting
from changeover.audit.view import StopPath, View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    hops = list(view.of(Haproxy))
    lives = {id(hop): connection_life(view, hop) for hop in hops}
    needs = [(occupied(view, hop, asked), lives[id(hop)].value or 0.0) for hop in hops]
    request, life = max(needs, key=sum, default=(asked.request_seconds, 0.0))
    longest = request + life
    whole = f"a pooled connection of {words.span(life)} in front and a request of {words.span(request)}" if life else ""
    open_ended = next((hop for hop in hops if lives[id(hop)].value is None), None)
    for limit in {hop.hard_stop.place: hop.hard_stop for hop in hops}.values():
        fix = f"hard-stop-after {longest + 30:.0f}s"
        yield _of_tcp(_judged(limit, longest, "hard-stop-after", asked, fix, whole), limit.value, open_ended)
    stops = view.stops_of("haproxy")
    for stop in stops:
        yield _of_tcp(_stopped(stop, longest, asked, whole), 0.0, open_ended)
    if not stops:
        for hop in {hop.place.file: hop for hop in hops}.values():
            yield unknown(
                hop.hard_stop.place,
                hop.place.file,
                "how this HAProxy is stopped is not in the given files",
                "its systemd unit, Dockerfile or compose file",
            )


def _of_tcp(found: Finding, limit: float | None, hop: Haproxy | None) -> Finding:
    """A limit that is enough for one request may still cut a connection that takes more of them."""
    if found.outcome is not Outcome.MET or hop is None or limit == float("inf"):
        return found
    missing = f"how long the hop in front uses a connection to {hop.name}, which has `mode tcp`, for new requests"
    return unknown(found.place, found.object, f"{found.what}: enough for one request", missing)


def _stopped(stop: StopPath, longest: float, asked: Assumptions, whole: str) -> Finding:
    if not stop.signals:
        return unknown(stop.place, stop.object, "the signal that stops HAProxy is not known", stop.missing)
    first = stop.signals[0]
    if first.name != "USR1":
        return violated(
            first.place,
            stop.object,
            f"{first.text}: HAProxy gets SIG{first.name}, not SIGUSR1",
            get=Effect.CUT,
            post=Effect.CUT,
            consequence="a GET and a POST in flight are cut as soon as HAProxy is stopped or restarted",
            fix=f"{stop.keys.first('USR1')}, with {stop.keys.until_kill(longest + 30)}",
            numbers={"signal": first.name},
            replacement=Setting(first.name, first.place, first.text).replaced("SIGUSR1"),
        )
    hard = next((one for one in stop.signals if one.name != "USR1"), None)
    if hard is None:
        missing = stop.missing or "how long it has until SIGKILL"
        return unknown(first.place, stop.object, f"{first.text}: a soft stop", missing)
    text = f"{hard.text}: SIG{hard.name} {words.span(stop.wait(hard))} after the soft stop"
    limit = Setting(stop.wait(hard), hard.place, text)
    return _judged(limit, longest, stop.object, asked, stop.keys.until_kill(longest + 30), whole)


def _judged(limit: Setting[float], need: float, object: str, asked: Assumptions, fix: str, whole: str) -> Finding:
    at = words.span(limit.value) if limit.value is not None else ""
    return upload_fits(
        limit,
        need,
        object,
        asked,
        consequence=f"a GET that ends within {at} survives; a POST in flight is cut {at} after a stop or a reload",
        fix=fix,
        whole=whole,
        replacement=limit.replaced(f"{need + 30:.0f}s") if limit.text.startswith("hard-stop-after ") else None,
    )


RULE = Rule(
    id="HAP01",
    name="haproxy-stop",
    severity=Severity.ERROR,
    what="HAProxy is stopped by a signal other than SIGUSR1, or before its requests have ended.",
    why="At SIGTERM HAProxy closes every connection at once, and that is what systemd sends unless `KillSignal` says "
    "otherwise. SIGUSR1 is the soft stop: listeners close, requests end. It lasts until `hard-stop-after`, and until "
    "the manager sends SIGKILL. A reload ends the old processes by a soft stop too.",
    sources=(
        "https://docs.haproxy.org/3.0/management.html#4",
        "https://docs.haproxy.org/3.0/configuration.html#hard-stop-after",
    ),
    bad={
        "haproxy.cfg": """\
global
    # expect: HAP01
    hard-stop-after 30s

defaults
    mode http
    timeout client 30s

frontend edge
    bind :8080
    default_backend app

backend app
    server one 10.0.0.5:9000
""",
        "haproxy.service": """\
[Service]
# expect: HAP01
ExecStart=/usr/sbin/haproxy -Ws -f /etc/haproxy/haproxy.cfg
TimeoutStopSec=500
""",
    },
    good={
        "haproxy.cfg": """\
global
    hard-stop-after 480s

defaults
    mode http
    timeout client 30s

frontend edge
    bind :8080
    default_backend app

backend app
    server one 10.0.0.5:9000
""",
        "haproxy.service": """\
[Service]
ExecStart=/usr/sbin/haproxy -Ws -f /etc/haproxy/haproxy.cfg
KillSignal=SIGUSR1
TimeoutStopSec=500
""",
    },
    fix="Stop HAProxy by SIGUSR1; give it, and `hard-stop-after`, longer than the longest request.",
    check=check,
)
