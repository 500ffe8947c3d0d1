"""APP03: an application server is stopped by a signal that does not drain it."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.commands import SERVERS
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.rule import Rule
from changeover.audit.view import View

GENTLE_AT_INT = {"uvicorn", "hypercorn", "granian"}
"""They drain at SIGINT too; gunicorn ends at once."""


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for stop in [one for software in sorted(SERVERS) for one in view.stops_of(software)]:
        if not stop.signals:
            yield unknown(stop.place, stop.object, f"the signal that stops {stop.software} is not known", stop.missing)
            continue
        first = stop.signals[0]
        if first.name == "TERM" or (first.name == "INT" and stop.software in GENTLE_AT_INT):
            yield met(first.place, stop.object, first.text)
        else:
            yield violated(
                first.place,
                stop.object,
                f"{first.text} stops {stop.software}, which drains at SIGTERM",
                get=Effect.CUT,
                post=Effect.CUT,
                consequence="a GET and a POST in flight are cut as soon as the server is stopped or restarted",
                fix="SIGTERM",
                numbers={"signal": first.name},
            )


RULE = Rule(
    id="APP03",
    name="app-stop-signal",
    severity=Severity.ERROR,
    what="An application server in Python is stopped by another signal than SIGTERM.",
    why="gunicorn, uvicorn, hypercorn and granian drain at SIGTERM. At SIGQUIT gunicorn and uvicorn end at once, "
    "and the parents of hypercorn and granian leave their workers behind. nginx and Kong need the opposite, so"
    " one signal for all containers is wrong.",
    sources=("https://docs.gunicorn.org/en/stable/signals.html", "https://www.uvicorn.org/deployment/"),
    bad={
        "app.service": """\
[Service]
ExecStart=/srv/app/bin/uvicorn app:app
# expect: APP03
KillSignal=SIGQUIT
TimeoutStopSec=500
""",
    },
    good={
        "app.service": """\
[Service]
ExecStart=/srv/app/bin/uvicorn app:app
KillSignal=SIGTERM
TimeoutStopSec=500
""",
    },
    fix="Stop it by SIGTERM.",
    check=check,
)
