"""NGX07: client_max_body_size is smaller than the upload."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.hops.nginx import NginxHttp, Route
from changeover.audit.rule import Rule
from changeover.audit.setting import Setting
from changeover.audit.view import View
from changeover.conf.nginx import values
from changeover.conf.place import Place


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(NginxHttp):
        if (unseen := hop.unseen) is not None:
            yield unknown(unseen.place, hop.name, unseen.text, unseen.missing)
        enough = f"{-(-asked.upload * 5 // 4 // 2**20)}m"
        servers: dict[Place, list[tuple[Route, Setting[int]]]] = {}
        for route in hop.routes:
            limit = route.scope.setting("client_max_body_size", values.size, 2**20, "1m")
            servers.setdefault(route.scope.belongs, []).append((route, limit))
        seen: set[Place] = set()
        for limits in servers.values():
            accepting = [one for one in limits if one[1].value == 0 or (one[1].value or 0) >= asked.upload]
            unclear = [one for one in limits if one[1].value is None]
            route, limit = (accepting or unclear or limits)[0]
            if limit.place in seen:
                continue
            seen.add(limit.place)
            if accepting:
                yield met(limit.place, route.name, limit.text)
            elif unclear:
                yield unknown(limit.place, route.name, limit.text, limit.missing)
            else:
                yield violated(
                    limit.place,
                    route.name,
                    f"{limit.text}: smaller than a {words.size(asked.upload)} upload",
                    get=Effect.OK,
                    post=Effect.REFUSED,
                    consequence="a GET is answered; the POST is answered with 413",
                    fix=f"client_max_body_size {enough};",
                    numbers={"limit_bytes": limit.value, "upload_bytes": asked.upload},
                    replacement=limit.replaced(enough),
                )


RULE = Rule(
    id="NGX07",
    name="nginx-body-size",
    severity=Severity.ERROR,
    what="`client_max_body_size` is smaller than the largest upload.",
    why="nginx answers a request whose body is larger with 413, whatever the application accepts. The default is 1"
    " MB; 0 means no limit.",
    sources=("https://nginx.org/en/docs/http/ngx_http_core_module.html#client_max_body_size",),
    bad={
        "nginx.conf": """\
events {}
http {
    server {
        listen 8080;
        # expect: NGX07
        client_max_body_size 10m;
        location / { proxy_pass http://127.0.0.1:9000; }
    }
}
""",
    },
    good={
        "nginx.conf": """\
events {}
http {
    server {
        listen 8080;
        client_max_body_size 64m;
        location / { proxy_pass http://127.0.0.1:9000; }
    }
}
""",
    },
    fix="Set it above the largest upload, such as `client_max_body_size 64m;`, where uploads are received.",
    check=check,
)
