"""NGX04: old workers of nginx stay without a limit while it is reloaded often."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.hops.nginx import Nginx
from changeover.audit.hops.nginx_scope import Scope
from changeover.audit.reloads import reloaded
from changeover.audit.rule import Rule
from changeover.audit.view import View
from changeover.conf.nginx import values
from changeover.conf.nginx.reader import place
from changeover.conf.place import Place


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in {hop.main.conf.file: hop for hop in view.of(Nginx)}.values():
        limit = hop.main.setting("worker_shutdown_timeout", values.seconds, float("inf"), "without a limit")
        reloads, evidence = reloaded(view, asked)
        if limit.value is None:
            yield unknown(limit.place, hop.name, limit.text, limit.missing)
        elif limit.value != float("inf") or reloads is False:
            yield met(limit.place, hop.name, limit.text if limit.value != float("inf") else evidence)
        elif reloads is None:
            yield unknown(limit.place, hop.name, f"{limit.text}: old workers may pile up at reloads", evidence)
        else:
            yield violated(
                first(hop.main),
                hop.name,
                f"{limit.text}, and {evidence}",
                get=Effect.OK,
                post=Effect.OK,
                consequence="no request is cut; old workers with the old configuration stay as long as one client does",
                fix=f"worker_shutdown_timeout {asked.request_seconds + 30:.0f}s;",
            )


def first(main: Scope) -> Place:
    """The first line of the configuration: the directive that is missing has none."""
    return place(main.conf.main[0]) if main.conf.main else main.place


RULE = Rule(
    id="NGX04",
    name="nginx-unbounded-old-workers",
    severity=Severity.WARNING,
    what="nginx is reloaded while it serves, and `worker_shutdown_timeout` is not set.",
    why="Each reload leaves the old workers running until their last connection ends. One WebSocket or one idle "
    "TCP session keeps a whole set of workers, with the old configuration and the old addresses of backends.",
    sources=("https://nginx.org/en/docs/ngx_core_module.html#worker_shutdown_timeout",),
    bad={
        "nginx.conf": """\
# expect: NGX04
worker_processes 4;
events {}
http { server { listen 8080; location / { proxy_pass http://127.0.0.1:9000; } } }
""",
    },
    good={
        "nginx.conf": """\
worker_processes 4;
worker_shutdown_timeout 480s;
events {}
http { server { listen 8080; location / { proxy_pass http://127.0.0.1:9000; } } }
""",
    },
    fix="Bound it by the longest request: `worker_shutdown_timeout 480s;`.",
    check=check,
    assume={"reloads": "yes"},
)
