"""NGX01: nginx is stopped by a signal that closes connections at once."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.hops.nginx import Nginx
from changeover.audit.rule import Rule
from changeover.audit.stops import GIVES_UP
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    stops = view.stops_of("nginx")
    for stop in stops:
        if not stop.signals:
            yield unknown(stop.place, stop.object, "the signal that stops nginx is not known", stop.missing)
            continue
        first = stop.signals[0]
        hard = next((one for one in stop.signals if one.name not in {"QUIT", "KILL"}), None)
        if first.name == "KILL":
            hard = first
        if hard is None and stop.cut_short:
            yield unknown(stop.place, stop.object, f"what follows {first.text} is not known", stop.missing)
            continue
        if hard is None or (first.name == "QUIT" and stop.wait(hard) >= GIVES_UP):
            yield met(first.place, stop.object, f"{first.text}: nginx gets SIGQUIT and finishes its requests")
            continue
        after = "" if first.name != "QUIT" else f": {first.text} returns at once, and this one follows"
        yield violated(
            first.place if first.name == "QUIT" else hard.place,
            stop.object,
            f"{hard.text}: SIG{hard.name} stops nginx{after}",
            get=Effect.CUT,
            post=Effect.CUT,
            consequence="a GET and a POST in flight are cut as soon as nginx is stopped or restarted",
            fix=stop.keys.first("QUIT"),
            numbers={"signal": hard.name},
        )
    if not stops:
        for main in {hop.main.conf.file: hop for hop in view.of(Nginx)}.values():
            yield unknown(
                main.main.place,
                main.main.conf.file,
                "how this nginx is stopped is not in the given files",
                "its systemd unit, Dockerfile or compose file",
            )


RULE = Rule(
    id="NGX01",
    name="nginx-stop-signal",
    severity=Severity.ERROR,
    what="nginx is stopped by a signal other than SIGQUIT.",
    why="At SIGTERM and SIGINT the workers of nginx exit at once and close every connection. Only SIGQUIT lets them "
    "finish. systemd sends SIGTERM unless `KillSignal` says otherwise, also right after an ExecStop that only sends a "
    "signal and does not wait.",
    sources=(
        "https://nginx.org/en/docs/control.html",
        "https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html#ExecStop=",
    ),
    bad={
        "nginx.service": """\
[Service]
ExecStart=/usr/sbin/nginx -g 'daemon off;'
# expect: NGX01
KillSignal=SIGTERM
TimeoutStopSec=500
"""
    },
    good={
        "nginx.service": """\
[Service]
ExecStart=/usr/sbin/nginx -g 'daemon off;'
KillSignal=SIGQUIT
KillMode=mixed
TimeoutStopSec=500
"""
    },
    fix="Let systemd send SIGQUIT: `KillSignal=SIGQUIT`, `KillMode=mixed`, no `ExecStop`. In a container: "
    "`STOPSIGNAL SIGQUIT`.",
    check=check,
)
