"""APP06: a server is killed before its longest request ends."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Finding, Severity, unknown
from changeover.audit.hops.app import App
from changeover.audit.limits import occupied, upload_fits
from changeover.audit.rule import Rule
from changeover.audit.setting import Setting
from changeover.audit.starts import SERVERS
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for stop in [one for software in sorted(SERVERS) for one in view.stops_of(software) if not one.pod]:
        hops = [hop for hop in view.of(App) if hop.software == stop.software]
        need = max((occupied(view, hop, asked) for hop in hops), default=asked.request_seconds)
        kill = next((one for one in stop.signals if one.name == "KILL"), None)
        if kill is None:
            yield unknown(stop.place, stop.object, "the time until SIGKILL is not known", stop.missing or "that time")
            continue
        yield upload_fits(
            Setting(stop.wait(kill), kill.place, kill.text),
            need,
            stop.object,
            asked,
            consequence=f"a GET survives; a POST in flight is cut {words.span(stop.wait(kill))} after the stop begins, "
            "unless the instance was drained first",
            replacement=Setting(kill.at, kill.place, kill.text).replaced_by(need + 20),
            fix=f"{stop.keys.until_kill(need + 20)}, or drain the instance before it is stopped",
        )


RULE = Rule(
    id="APP06",
    name="app-stop-budget",
    severity=Severity.ERROR,
    what="The time from the stop signal to SIGKILL is shorter than the longest request.",
    why="Whatever a server's own graceful timeout is, its manager kills it: systemd after TimeoutStopSec, 90 "
    "seconds unless set, Docker, compose and supervisord after 10.",
    sources=(
        "https://docs.docker.com/reference/cli/docker/container/stop/",
        "https://supervisord.org/configuration.html",
        "https://docs.docker.com/reference/compose-file/services/#stop_grace_period",
    ),
    bad={
        "supervisord.conf": """\
# expect: APP06
[program:app]
command=uvicorn app:app
""",
    },
    good={
        "supervisord.conf": """\
[program:app]
command=uvicorn app:app
stopwaitsecs=500
""",
    },
    fix="Raise `stopwaitsecs`, `stop_grace_period`, `docker stop --time` or TimeoutStopSec; or drain first.",
    check=check,
)
