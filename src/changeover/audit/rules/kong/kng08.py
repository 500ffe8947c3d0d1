"""KNG08: worker_shutdown_timeout of Kong is shorter than an upload."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Finding, Severity
from changeover.audit.hops.kong import Kong
from changeover.audit.limits import occupied, upload_fits
from changeover.audit.lines import line
from changeover.audit.rule import KONG, Rule
from changeover.audit.view import View
from changeover.conf.nginx import values


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(Kong):
        limit = hop.setting("nginx_main_worker_shutdown_timeout", values.seconds, float("inf"), "without a limit")
        need = occupied(view, hop, asked)
        cut = words.span(limit.value) if limit.value is not None else ""
        yield upload_fits(
            limit,
            need,
            hop.name,
            asked,
            consequence=f"a GET survives; a POST in flight is cut {cut} after a reload or a graceful stop",
            fix=line(limit, "kong", need + 30),
            replacement=limit.replaced_by(need + 30),
        )


RULE = Rule(
    id="KNG08",
    name="kong-worker-shutdown-timeout",
    severity=Severity.ERROR,
    what="`nginx_main_worker_shutdown_timeout` is shorter than the longest upload.",
    why="Kong runs an nginx, whose old workers close every connection when this time is over after SIGQUIT or a "
    "reload. Unset, they wait without a limit.",
    sources=(
        "https://developer.konghq.com/gateway/configuration/#injecting-individual-nginx-directives",
        "https://nginx.org/en/docs/ngx_core_module.html#worker_shutdown_timeout",
    ),
    bad={
        "kong.conf": """\
proxy_listen = 0.0.0.0:8000
# expect: KNG08
nginx_main_worker_shutdown_timeout = 30s
""",
    },
    good={
        "kong.conf": """\
proxy_listen = 0.0.0.0:8000
nginx_main_worker_shutdown_timeout = 480s
""",
    },
    fix="Set it to the time of the longest request and 30 seconds more.",
    check=check,
    lab=KONG,
)
