"""NGX08: client_body_timeout is shorter than a pause of a slow client."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.hops.nginx import NginxHttp
from changeover.audit.rule import Rule
from changeover.audit.view import View
from changeover.conf.nginx import values
from changeover.conf.place import Place


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(NginxHttp):
        if (unseen := hop.unseen) is not None:
            yield unknown(unseen.place, hop.name, unseen.text, unseen.missing)
        seen: set[Place] = set()
        for route in hop.routes:
            limit = route.scope.setting("client_body_timeout", values.seconds, 60.0, "60s")
            if limit.place in seen:
                continue
            seen.add(limit.place)
            if limit.value is None:
                yield unknown(limit.place, route.name, limit.text, limit.missing)
            elif limit.value >= asked.client_stall:
                yield met(limit.place, route.name, limit.text, {"margin_seconds": limit.value - asked.client_stall})
            else:
                yield violated(
                    limit.place,
                    route.name,
                    f"{limit.text}: shorter than a pause of {words.span(asked.client_stall)} within an upload",
                    get=Effect.OK,
                    post=Effect.CUT,
                    consequence="a GET is answered; the POST of a client that pauses is cut: "
                    "nginx logs 408, and sends nothing",
                    fix=f"client_body_timeout {max(120.0, asked.client_stall * 2):.0f}s;",
                    numbers={"limit_seconds": limit.value, "stall_seconds": asked.client_stall},
                    replacement=limit.replaced_by(max(120.0, asked.client_stall * 2)),
                )


RULE = Rule(
    id="NGX08",
    name="nginx-body-timeout",
    severity=Severity.WARNING,
    what="`client_body_timeout` is shorter than the longest pause of a client within an upload.",
    why="When a client sends nothing for so long within a body, nginx logs 408 and closes the connection without an "
    "answer. It is a limit between two reads, not for the whole body.",
    sources=("https://nginx.org/en/docs/http/ngx_http_core_module.html#client_body_timeout",),
    bad={
        "nginx.conf": """\
events {}
http {
    # expect: NGX08
    client_body_timeout 10s;
    server { listen 8080; location / { proxy_pass http://127.0.0.1:9000; } }
}
""",
    },
    good={
        "nginx.conf": """\
events {}
http {
    client_body_timeout 120s;
    server { listen 8080; location / { proxy_pass http://127.0.0.1:9000; } }
}
""",
    },
    fix="Set `client_body_timeout 120s;`.",
    check=check,
)
