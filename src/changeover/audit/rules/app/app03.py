"""APP03: an application server is stopped by a signal that does not drain it."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.hops.app import App
from changeover.audit.rule import Rule
from changeover.audit.setting import Setting
from changeover.audit.starts import SERVERS
from changeover.audit.stops import GIVES_UP, THREADS_FINISH, drains
from changeover.audit.view import StopPath, View

_MAIN_ALONE = (
    "SIGTERM for the main process alone: KillMode=mixed of systemd, stopasgroup=false of supervisord, `dumb-init "
    "--single-child`, tini without -g"
)


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for stop in [one for software in sorted(SERVERS) for one in view.stops_of(software)]:
        if not stop.signals:
            yield unknown(stop.place, stop.object, f"the signal that stops {stop.software} is not known", stop.missing)
            continue
        kinds = _worker_classes(view, stop)
        common = "gthread" if kinds == {"gthread"} else ""
        hard = next((one for one in stop.signals if not drains(stop.software, one, common)), None)
        if hard is not None and hard.name in THREADS_FINISH and None in kinds:
            missing = "the class of the workers: gthread finishes its requests, and the others end at once"
            yield unknown(hard.place, stop.object, f"{hard.text} stops {stop.software}", missing)
            continue
        if hard is None and stop.cut_short:
            text = f"the signals after {stop.signals[-1].text} are not known"
            yield unknown(stop.place, stop.object, text, stop.missing)
            continue
        if hard is None or (hard.name == "KILL" and hard is not stop.signals[0]):  # APP06: the time until SIGKILL
            yield met(stop.signals[0].place, stop.object, stop.signals[0].text)
            continue
        group = hard.name == "TERM"
        ends = ", for every process: the workers of hypercorn end at once" if group else f" stops {stop.software}"
        wait = stop.wait(hard)
        after = f", {words.span(wait)} after {stop.signals[0].text}" if wait >= GIVES_UP else ""
        yield violated(
            hard.place,
            stop.object,
            f"{hard.text}{ends}{'' if group else ', which drains at SIGTERM'}{after}",
            get=Effect.OK if after else Effect.CUT,
            post=Effect.CUT,
            consequence=f"a GET survives; a POST in flight is cut {words.span(wait)} after the stop begins"
            if after
            else "a GET and a POST in flight are cut as soon as the server is stopped or restarted",
            fix=_MAIN_ALONE if group else stop.keys.first("TERM"),
            numbers={"signal": hard.name},
            replacement=None if group or after else Setting(0.0, hard.place, hard.text).replaced("SIGTERM"),
        )


def _worker_classes(view: View, stop: StopPath) -> set[str | None]:
    """Of the gunicorn that a file stops: of the one that it starts, else of every one."""
    apps = [one for one in view.of(App) if one.software == stop.software == "gunicorn"]
    near = [one for one in apps if one.place.file == stop.place.file] or apps
    return {one.worker_class.value for one in near}


RULE = Rule(
    id="APP03",
    name="app-stop-signal",
    severity=Severity.ERROR,
    what="An application server in Python is stopped by another signal than SIGTERM.",
    why="gunicorn, uvicorn, hypercorn and granian drain at SIGTERM. At SIGQUIT gunicorn, except with threads, and "
    "uvicorn end at once, and the parents of hypercorn and granian leave their workers behind. nginx and Kong need the "
    "opposite, so one signal for all containers is wrong. systemd sends the signal to every process unless KillMode is "
    "`mixed`, and the workers of hypercorn end at once at a SIGTERM of their own.",
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
