"""APP04: a server accepts connections that it will never answer."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.hops.app import App
from changeover.audit.rule import Rule
from changeover.audit.view import View


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(App):
        several = hop.workers.value is None or hop.workers.value > 1
        threaded = hop.worker_class.value in {"sync", "gthread", None}
        accepts = {"hypercorn": True, "gunicorn": threaded, "uvicorn": several}.get(hop.software, False)
        if not accepts:
            yield met(hop.place, hop.object, f"{hop.software} closes its port when it drains")
        elif asked.drained:
            yield met(hop.place, hop.object, "it is out of the load balancer before it is stopped (--assume)")
        elif asked.drained is None:
            missing = "whether it is out of the load balancer before it is stopped: `--assume drained=yes` or `no`"
            yield unknown(hop.place, hop.object, f"{hop.software} accepts connections while it drains", missing)
        else:
            yield violated(
                hop.place,
                hop.object,
                f"{hop.software} accepts connections while it drains, and no load balancer was changed before",
                get=Effect.ERROR,
                post=Effect.ERROR,
                consequence="a GET and a POST that arrive while it drains are accepted, never read, and reset at "
                "its exit",
                fix="drain the instance at the load balancer, then stop the server",
            )


RULE = Rule(
    id="APP04",
    name="app-accepts-while-draining",
    severity=Severity.ERROR,
    what="A server with several processes accepts connections while it drains, and the load balancer still sends them.",
    why="hypercorn, gunicorn with sync or threaded workers, and uvicorn with `--workers` keep their port open "
    "while they drain. The kernel accepts connections that no process reads, and resets them when the server "
    "exits.",
    sources=("https://github.com/encode/uvicorn/pull/2010", "https://github.com/benoitc/gunicorn/issues/2529"),
    bad={
        "app.service": """\
[Service]
# expect: APP04
ExecStart=/srv/app/bin/hypercorn app:app --graceful-timeout 460
KillMode=mixed
TimeoutStopSec=500
""",
    },
    good={
        "app.service": """\
[Service]
ExecStart=/srv/app/bin/uvicorn app:app
TimeoutStopSec=500
""",
    },
    fix="Take the instance out of the load balancer before the server is stopped.",
    check=check,
    assume={"drained": "no"},
)
