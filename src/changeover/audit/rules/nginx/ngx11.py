"""NGX11: the retries of POSTs do not fit the application."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.hops.nginx import NginxHttp, Route
from changeover.audit.rule import Rule
from changeover.audit.view import View
from changeover.conf.nginx.grammar import Directive
from changeover.conf.nginx.reader import everything, place
from changeover.conf.place import Place


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(NginxHttp):
        if (unseen := hop.unseen) is not None:
            yield unknown(unseen.place, hop.name, unseen.text, unseen.missing)
        keyed = asked.idempotency_key or any(
            "idempotency" in word.lower() for one in everything(hop.main.conf.main) for word in one.values
        )
        seen: set[Place] = set()
        for route in hop.routes:
            if route.module == "grpc":
                continue
            found = route.scope.find(f"{route.module}_next_upstream")
            where = place(found) if found else route.scope.belongs
            if where in seen:
                continue
            seen.add(where)
            yield _judged(route, found, where, keyed, asked.idempotency_key)


def _judged(route: Route, found: Directive | None, where: Place, keyed: bool, known: bool | None) -> Finding:
    text = str(found) if found else f"{route.module}_next_upstream is not set, so a POST that was sent is not repeated"
    if found is None and (include := route.scope.hidden()) is not None:
        return unknown(where, route.name, text, f"the file that `{include}` in {place(include)} names")
    repeats = found is not None and "non_idempotent" in found.values
    if repeats and not keyed:
        return violated(
            where,
            route.name,
            f"{text}: a POST may be carried out twice, and nothing shows that the application recognises it",
            get=Effect.OK,
            post=Effect.DUPLICATED,
            consequence="a GET is repeated safely; a POST whose connection breaks is carried out twice",
            fix="remove non_idempotent, or have the application recognise an idempotency key",
        )
    if not repeats and known:
        return violated(
            where,
            route.name,
            f"{text}, though the application recognises repeated POSTs",
            get=Effect.OK,
            post=Effect.ERROR,
            consequence="a GET is repeated; a POST whose connection breaks is answered with 502",
            fix=f"{route.module}_next_upstream error timeout non_idempotent;",
        )
    return met(where, route.name, text)


RULE = Rule(
    id="NGX11",
    name="nginx-retry-of-posts",
    severity=Severity.WARNING,
    what="`proxy_next_upstream` repeats POSTs that the application does not recognise, or does not repeat those "
    "that it does.",
    why="nginx sends a POST to a second server only with `non_idempotent`. Where the application recognises a "
    "repeated request by a key, such retries hide a failure; where it does not, they carry a POST out twice. A"
    " body that is not buffered is never repeated.",
    sources=("https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_next_upstream",),
    bad={
        "nginx.conf": """\
events {}
http {
    upstream inner { server 10.0.0.5:9000; server 10.0.0.6:9000; }
    server {
        listen 8080;
        location / {
            # expect: NGX11
            proxy_next_upstream error timeout non_idempotent;
            proxy_pass http://inner;
        }
    }
}
""",
    },
    good={
        "nginx.conf": """\
events {}
http {
    upstream inner { server 10.0.0.5:9000; server 10.0.0.6:9000; }
    server {
        listen 8080;
        location / {
            proxy_next_upstream error timeout;
            proxy_pass http://inner;
        }
    }
}
""",
    },
    fix="Use `non_idempotent` with buffering if the application recognises repeated POSTs, and only then.",
    check=check,
)
