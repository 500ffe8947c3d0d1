"""KNG01: Kong is stopped by a signal, or after a time, that cuts requests."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.hops.kong import Kong
from changeover.audit.limits import occupied, upload_fits
from changeover.audit.rule import KONG, Rule
from changeover.audit.setting import Setting
from changeover.audit.stops import GIVES_UP
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    stops = view.stops_of("kong")
    need = max((occupied(view, hop, asked) for hop in view.of(Kong)), default=asked.request_seconds)
    for stop in stops:
        hard = next((one for one in stop.signals if one.name != "QUIT"), None)
        if hard is None:
            text = f"what follows {stop.signals[0].text}" if stop.signals else "the signal that stops Kong"
            yield unknown(stop.place, stop.object, f"{text} is not known", stop.missing)
        elif stop.signals[0].name != "QUIT":
            yield violated(
                hard.place,
                stop.object,
                f"{hard.text} stops Kong by SIG{hard.name}",
                get=Effect.CUT,
                post=Effect.CUT,
                consequence="a GET and a POST in flight are cut as soon as Kong is stopped or restarted",
                fix=f"{stop.keys.first('QUIT')}, with {stop.keys.until_kill(need + 30)}, after kong drain",
                numbers={"signal": hard.name},
            )
        elif stop.pod:
            yield met(
                stop.signals[0].place, stop.object, f"{stop.signals[0].text}; K8S01 judges the time until SIGKILL"
            )
        elif stop.wait(hard) >= GIVES_UP:
            decides = hard if hard.name == "KILL" else stop.signals[0]
            wait = stop.wait(hard)
            text = f"{decides.text}: {words.span(wait)} until SIG{hard.name}"
            yield upload_fits(
                Setting(wait, decides.place, text),
                need,
                stop.object,
                asked,
                consequence=f"a GET survives; a POST in flight is cut {words.span(wait)} after the stop begins",
                fix=stop.keys.until_kill(need + 30)
                if hard.name == "KILL"
                else f"kong quit --timeout {need + 30:.0f}, with {stop.keys.until_kill(need + 60)}",
            )
    if not stops:
        for hop in view.of(Kong):
            missing = "its systemd unit, Dockerfile or compose file"
            yield unknown(hop.place, hop.name, "how this Kong is stopped is not in the given files", missing)


RULE = Rule(
    id="KNG01",
    name="kong-stop",
    severity=Severity.ERROR,
    what="Kong is stopped by SIGTERM, or has less time after SIGQUIT than the longest upload.",
    why="`kong stop` and `kong restart` send SIGTERM, at which the workers of its nginx exit at once. `kong quit` "
    "sends SIGQUIT, waits for `--timeout`, 10 seconds unless given, and then sends SIGTERM.",
    sources=(
        "https://github.com/Kong/kong/blob/master/kong/cmd/quit.lua",
        "https://github.com/Kong/kong/blob/master/kong/cmd/stop.lua",
    ),
    bad={
        "kong.service": """\
[Service]
ExecStart=/usr/local/bin/kong start --nginx-conf /etc/kong/nginx.conf
# expect: KNG01
ExecStop=/usr/local/bin/kong stop
""",
    },
    good={
        "kong.service": """\
[Service]
ExecStart=/usr/local/bin/kong start
ExecStop=/usr/local/bin/kong quit --timeout 460
TimeoutStopSec=480
""",
    },
    fix="Drain Kong first (`kong drain`), then `kong quit --timeout` with the time of the longest request.",
    check=check,
    lab=KONG,
)
