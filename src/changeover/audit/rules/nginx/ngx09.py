"""NGX09: uploads are forwarded as they arrive and occupy every hop behind."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.hops.nginx import NginxHttp, buffering
from changeover.audit.rule import Rule
from changeover.audit.view import View
from changeover.conf.place import Place


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(NginxHttp):
        if (unseen := hop.unseen) is not None:
            yield unknown(unseen.place, hop.name, unseen.text, unseen.missing)
        seen: set[Place] = set()
        for route in hop.routes:
            if route.module == "grpc":
                continue  # a stream by design
            setting = buffering(route)
            if setting.place in seen:
                continue
            seen.add(setting.place)
            if setting.value is None:
                yield unknown(setting.place, route.name, setting.text, setting.missing)
            elif setting.value or view.buffered(hop):
                yield met(setting.place, route.name, setting.text)
            else:
                yield violated(
                    setting.place,
                    route.name,
                    f"{setting.text}: {words.upload(asked)} occupies every hop behind for "
                    f"{words.span(asked.request_seconds)}, not {words.span(asked.buffered_seconds)}",
                    get=Effect.OK,
                    post=Effect.CUT,
                    consequence="a GET survives; a POST is cut by the shortest drain of the hops behind",
                    fix=f"{route.module}_request_buffering on;",
                    replacement=setting.replaced("on"),
                    numbers={"seconds": asked.request_seconds, "buffered_seconds": asked.buffered_seconds},
                )


RULE = Rule(
    id="NGX09",
    name="nginx-unbuffered-uploads",
    severity=Severity.ERROR,
    what="`proxy_request_buffering off` lets a slow upload occupy every hop behind nginx.",
    why="With buffering, the hops behind nginx see an upload for the time that the network between the servers "
    "takes. Without it each of them is occupied as long as the client sends, so each needs a drain that long. "
    "nginx also cannot send the request to another server once it has begun.",
    sources=("https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_request_buffering",),
    bad={
        "nginx.conf": """\
events {}
http {
    server {
        listen 8080;
        location / {
            # expect: NGX09
            proxy_request_buffering off;
            proxy_pass http://10.0.0.5:9000;
        }
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
        location / {
            proxy_request_buffering on;
            proxy_pass http://10.0.0.5:9000;
        }
    }
}
""",
    },
    fix="Buffer at the edge, with disk for all uploads at once; or give every hop behind it a drain as long as an "
    "upload.",
    check=check,
)
