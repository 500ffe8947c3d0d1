"""NGX05: a reload closes idle connections of clients that may be sending."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.hops.nginx import NginxHttp
from changeover.audit.reloads import reloaded
from changeover.audit.rule import Rule
from changeover.audit.view import View
from changeover.conf.nginx import values

SINCE = (1, 27, 4)
"""keepalive_min_timeout appeared in it."""


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(NginxHttp):
        kept = hop.block.setting("keepalive_min_timeout", values.seconds, 0.0, "0")
        idle = hop.idle
        reloads, evidence = reloaded(view, asked)
        old = hop.version is not None and hop.version < SINCE
        number = ".".join(map(str, hop.version or ()))
        text = f"nginx {number} has no keepalive_min_timeout" if old else kept.text
        if reloads is False:
            yield met(kept.place, hop.name, evidence)
        elif idle.value == 0:
            yield met(idle.place, hop.name, f"{idle.text}: no connection is kept")
        elif kept.value is None:
            yield unknown(kept.place, hop.name, kept.text, kept.missing)
        elif kept.value > 0 and not old:
            yield met(kept.place, hop.name, kept.text, {"kept_seconds": kept.value})
        elif reloads is None:
            yield unknown(kept.place, hop.name, f"{text}: a reload closes idle connections at once", evidence)
        else:
            yield violated(
                kept.place,
                hop.name,
                f"{text}, and {evidence}",
                get=Effect.RETRIED,
                post=Effect.ERROR,
                consequence="at each reload every keep-alive client can lose one request; a client may repeat a GET",
                fix="nginx 1.27.4 or newer and `keepalive_min_timeout 5s;`",
            )


RULE = Rule(
    id="NGX05",
    name="nginx-reload-closes-idle-connections",
    severity=Severity.ERROR,
    what="nginx is reloaded while it serves, and closes idle keep-alive connections at once.",
    why="A worker that shuts down closes idle connections at once, while the next request of a client may be on "
    "its way. Each keep-alive client can lose one request at each reload. `keepalive_min_timeout`, from 1.27.4"
    " on, keeps them for a while; its default is 0.",
    sources=(
        "https://nginx.org/en/docs/http/ngx_http_core_module.html#keepalive_min_timeout",
        "https://nginx.org/en/CHANGES",
    ),
    bad={
        "nginx.conf": """\
events {}
# expect: NGX05
http {
    server { listen 8080; location / { proxy_pass http://127.0.0.1:9000; } }
}
""",
    },
    good={
        "nginx.conf": """\
events {}
http {
    keepalive_min_timeout 5s;
    server { listen 8080; location / { proxy_pass http://127.0.0.1:9000; } }
}
""",
    },
    fix="Use nginx 1.27.4 or newer with `keepalive_min_timeout 5s;`, or replace instances instead of reloading them.",
    check=check,
    lab="its good example needs nginx 1.27.4, and most distributions have an older one",
    assume={"reloads": "yes", "nginx": "1.29.0"},
)
