"""NGX03: worker_shutdown_timeout is shorter than an upload."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Finding, Severity
from changeover.audit.hops.nginx import NginxHttp, NginxStream
from changeover.audit.limits import occupied, upload_fits
from changeover.audit.rule import Rule
from changeover.audit.view import View
from changeover.conf.nginx import values


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(NginxHttp):
        limit = hop.main.setting("worker_shutdown_timeout", values.seconds, float("inf"), "without a limit")
        if not hop.routes and any(view.of(NginxStream)):
            continue  # the status page of a TCP proxy: STR01 is about it
        need = occupied(view, hop, asked)
        cut = words.span(limit.value) if limit.value is not None else ""
        yield upload_fits(
            limit,
            need,
            hop.name,
            asked,
            consequence=f"a GET survives; a POST in flight is cut {cut} after a reload or a graceful stop",
            fix=f"worker_shutdown_timeout {need + 30:.0f}s;",
            replacement=limit.replaced_by(need + 30),
        )


RULE = Rule(
    id="NGX03",
    name="nginx-worker-shutdown-timeout",
    severity=Severity.ERROR,
    what="`worker_shutdown_timeout` is shorter than the longest upload.",
    why="After a reload or SIGQUIT an old worker finishes its requests. When `worker_shutdown_timeout` is over it "
    "closes every connection that is left, without an answer. Unset, it waits without a limit.",
    sources=("https://nginx.org/en/docs/ngx_core_module.html#worker_shutdown_timeout",),
    bad={
        "nginx.conf": """\
# expect: NGX03
worker_shutdown_timeout 10s;
events {}
http { server { listen 8080; location / { proxy_pass http://127.0.0.1:9000; } } }
""",
    },
    good={
        "nginx.conf": """\
worker_shutdown_timeout 480s;
events {}
http { server { listen 8080; location / { proxy_pass http://127.0.0.1:9000; } } }
""",
    },
    fix="Set it to the time of the longest request and 30 seconds more.",
    check=check,
)
