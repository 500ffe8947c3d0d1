"""APP01: an application server gives its requests less time than an upload."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Finding, Severity
from changeover.audit.hops.app import App
from changeover.audit.limits import occupied, upload_fits
from changeover.audit.rule import Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(App):
        need = occupied(view, hop, asked)
        cut = words.span(hop.graceful.value) if hop.graceful.value is not None else ""
        yield upload_fits(
            hop.graceful,
            need,
            hop.object,
            asked,
            consequence=f"a GET survives; a POST in flight is cut {cut} after {hop.software} is stopped",
            replacement=hop.graceful.replaced_by(need + 10),
            fix=hop.graceful_key.replace("{}", f"{need + 10:.0f}"),
        )


RULE = Rule(
    id="APP01",
    name="app-graceful-timeout",
    severity=Severity.ERROR,
    what="The graceful timeout of an application server is shorter than the longest request.",
    why="At SIGTERM a server stops to accept, and gives the requests in flight so long: gunicorn 30 seconds, "
    "hypercorn 3, uvicorn and granian no limit unless set. Then it closes their connections.",
    sources=(
        "https://docs.gunicorn.org/en/stable/settings.html#graceful-timeout",
        "https://www.uvicorn.org/settings/#timeouts",
        "https://hypercorn.readthedocs.io/en/latest/how_to_guides/configuring.html",
    ),
    bad={
        "app.service": """\
[Service]
# expect: APP01
ExecStart=/srv/app/bin/hypercorn app:app --graceful-timeout 10
KillMode=mixed
TimeoutStopSec=500
""",
    },
    good={
        "app.service": """\
[Service]
ExecStart=/srv/app/bin/hypercorn app:app --graceful-timeout 440
KillMode=mixed
TimeoutStopSec=500
""",
    },
    fix="Set it above the longest request, and below the time until SIGKILL.",
    check=check,
)
