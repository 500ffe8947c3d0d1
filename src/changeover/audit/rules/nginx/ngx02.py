"""NGX02: the time from SIGQUIT to the first hard signal is shorter than an upload."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Finding, Severity, unknown
from changeover.audit.hops.nginx import NginxHttp, NginxStream
from changeover.audit.limits import occupied, upload_fits
from changeover.audit.rule import Rule
from changeover.audit.setting import Setting
from changeover.audit.stops import GIVES_UP
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    hops = [*view.of(NginxHttp), *view.of(NginxStream)]
    need = max((occupied(view, hop, asked) for hop in hops), default=asked.request_seconds)
    for stop in view.stops_of("nginx"):
        if not stop.signals or stop.signals[0].name != "QUIT" or stop.pod:
            continue  # NGX01 and K8S01 are about it
        hard = next((one for one in stop.signals if one.name != "QUIT"), None)
        if hard is None:
            yield unknown(stop.place, stop.object, "no signal follows SIGQUIT", stop.missing or "how the stop ends")
        elif (wait := stop.wait(hard)) >= GIVES_UP:
            by = f"{stop.signals[0].text if hard.name != 'KILL' else hard.text}: {words.span(wait)} after SIGQUIT"
            longer = Setting(wait, hard.place, hard.text)
            yield upload_fits(
                Setting(wait, stop.signals[0].place if hard.name != "KILL" else hard.place, by),
                need,
                stop.object,
                asked,
                consequence=f"a GET survives; a POST in flight is cut {words.span(wait)} after the stop begins, "
                "unless the instance was drained first",
                replacement=longer.replaced_by(need + 15) if hard.name == "KILL" else None,
                fix=stop.keys.until_kill(need + 15)
                + (f" with {stop.keys.first('QUIT')}" if hard.name != "KILL" else "")
                + ", or drain the instance before it stops",
            )


RULE = Rule(
    id="NGX02",
    name="nginx-stop-budget",
    severity=Severity.ERROR,
    what="The time that nginx has between SIGQUIT and the next signal is shorter than the longest upload.",
    why="After SIGQUIT the workers finish their requests, but whatever stops nginx waits only so long: "
    "TimeoutStopSec of systemd, `--retry QUIT/5` of Debian's unit, ten seconds of `docker stop`. Then every "
    "connection is closed.",
    sources=(
        "https://nginx.org/en/docs/control.html",
        "https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html#TimeoutStopSec=",
    ),
    bad={
        "nginx.service": """\
[Service]
ExecStart=/usr/sbin/nginx -g 'daemon off;'
# expect: NGX02
ExecStop=-/sbin/start-stop-daemon --quiet --stop --retry QUIT/5 --pidfile /run/nginx.pid
TimeoutStopSec=5
KillMode=mixed
""",
    },
    good={
        "nginx.service": """\
[Service]
ExecStart=/usr/sbin/nginx -g 'daemon off;'
KillSignal=SIGQUIT
KillMode=mixed
TimeoutStopSec=460
""",
    },
    fix="Give the stop as long as the longest request takes, and 15 seconds more; or drain the instance before it "
    "is stopped.",
    check=check,
)
