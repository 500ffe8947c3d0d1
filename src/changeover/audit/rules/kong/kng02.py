"""KNG02: ExecStop returns before Kong has finished, and SIGTERM follows at once."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, violated
from changeover.audit.rule import KONG, Rule
from changeover.audit.stops import GIVES_UP
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for stop in view.stops_of("kong"):
        hard = next((one for one in stop.signals if one.name != "QUIT"), None)
        if hard is None or stop.signals[0].name != "QUIT":
            continue  # KNG01 is about it
        first = stop.signals[0]
        if stop.wait(hard) >= GIVES_UP:
            yield met(first.place, stop.object, f"{first.text}: the next signal comes {stop.wait(hard):g} s later")
        else:
            yield violated(
                first.place,
                stop.object,
                f"{first.text} returns at once, and SIG{hard.name} follows right after it",
                get=Effect.CUT,
                post=Effect.CUT,
                consequence="a GET and a POST in flight are cut as soon as the unit is stopped or restarted",
                fix=stop.keys.first("QUIT"),
                numbers={"seconds_between": stop.wait(hard)},
            )


RULE = Rule(
    id="KNG02",
    name="kong-asynchronous-stop",
    severity=Severity.ERROR,
    what="The unit of Kong sends SIGQUIT by an ExecStop that does not wait.",
    why="systemd takes the end of ExecStop for the end of the graceful part: then it sends KillSignal to every "
    "process that is left. `kill -s QUIT` returns at once, so SIGTERM follows within milliseconds. The unit in"
    " Kong's packages does this.",
    sources=(
        "https://github.com/Kong/kong/blob/master/build/package/kong.service",
        "https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html#ExecStop=",
    ),
    bad={
        "kong.service": """\
[Service]
ExecStart=/usr/local/openresty/nginx/sbin/nginx -p /usr/local/kong -c nginx.conf
# expect: KNG02
ExecStop=/bin/kill -s QUIT $MAINPID
""",
    },
    good={
        "kong.service": """\
[Service]
ExecStart=/usr/local/openresty/nginx/sbin/nginx -p /usr/local/kong -c nginx.conf
KillSignal=SIGQUIT
KillMode=mixed
TimeoutStopSec=480
""",
    },
    fix="Remove ExecStop, and set `KillSignal=SIGQUIT`, `KillMode=mixed` and a TimeoutStopSec.",
    check=check,
    lab=KONG,
)
