"""APP02: a sync worker of gunicorn is killed while it receives an upload."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown
from changeover.audit.hops.app import App
from changeover.audit.limits import occupied, upload_fits
from changeover.audit.rule import Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(App):
        if hop.software != "gunicorn":
            continue
        need = occupied(view, hop, asked)
        if hop.worker_class.value is None:
            yield unknown(hop.worker_class.place, hop.object, hop.worker_class.text, hop.worker_class.missing)
        elif hop.worker_class.value != "sync":
            yield met(hop.worker_class.place, hop.object, hop.worker_class.text)
        else:
            limit = replace(hop.timeout, value=float("inf")) if hop.timeout.value == 0 else hop.timeout
            cut = words.span(limit.value) if limit.value is not None else ""
            yield upload_fits(
                limit,
                need,
                hop.object,
                asked,
                get=Effect.OK,
                consequence=f"a GET survives; a POST is cut {cut} after it began, without any rollout",
                fix="-k gthread --threads 8"
                if hop.graceful_key.startswith("-")  # its command line decides
                else 'worker_class = "gthread" and threads = 8',
            )


RULE = Rule(
    id="APP02",
    name="gunicorn-sync-timeout",
    severity=Severity.ERROR,
    what="gunicorn with sync workers has a `timeout` shorter than the longest request.",
    why="A sync worker reports to its parent between requests only. When a request takes longer than `timeout`, 30"
    " seconds unless set, the parent kills the worker in the middle of it, without any rollout.",
    sources=(
        "https://docs.gunicorn.org/en/stable/settings.html#timeout",
        "https://docs.gunicorn.org/en/stable/design.html#sync-workers",
    ),
    bad={
        "app.service": """\
[Service]
# expect: APP02
ExecStart=/srv/app/bin/gunicorn app:app --graceful-timeout 460
TimeoutStopSec=500
""",
    },
    good={
        "app.service": """\
[Service]
ExecStart=/srv/app/bin/gunicorn app:app -k gthread --threads 8 --graceful-timeout 460
TimeoutStopSec=500
""",
    },
    fix="Use `gthread` or an asynchronous worker class, or buffer uploads in front.",
    check=check,
)
