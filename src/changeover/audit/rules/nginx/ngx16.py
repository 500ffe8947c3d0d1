"""NGX16: this version of nginx loses requests when it shuts down."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.hops.nginx import NginxHttp
from changeover.audit.rule import Rule
from changeover.audit.view import View
from changeover.conf.nginx.reader import everything

FAULTS: tuple[tuple[tuple[int, ...], str | None, str], ...] = (
    ((1, 21, 6), None, "a worker that shuts down still answers `keep-alive` (corrected in 1.21.6)"),
    ((1, 25, 4), "aio", "connections with asynchronous I/O are closed early (corrected in 1.25.4)"),
    ((1, 27, 1), "http2", "HTTP/2 connections ignore the shutdown (corrected in 1.27.1)"),
)
"""The version that corrects it, what a configuration must use to meet it, and the fault."""


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(NginxHttp):
        used = set()
        for one in everything(hop.main.conf.main):
            if one.name == "aio" and one.values[:1] != ("off",):
                used.add("aio")
            if (one.name == "listen" and "http2" in one.values) or (one.name == "http2" and one.values == ("on",)):
                used.add("http2")
        faults = [(fixed, what) for fixed, need, what in FAULTS if need is None or need in used]
        newest = max(fixed for fixed, _ in faults)
        if hop.version is None:
            needed = ".".join(map(str, newest))
            yield unknown(
                hop.place,
                hop.name,
                f"its shutdown is right from {needed} on",
                "the version of nginx: `--assume nginx=VERSION`",
            )
            continue
        found = [what for fixed, what in faults if hop.version < fixed]
        number = ".".join(map(str, hop.version))
        if not found:
            yield met(hop.place, hop.name, f"nginx {number} has no known fault in its shutdown")
        else:
            yield violated(
                hop.place,
                hop.name,
                f"nginx {number}: {'; '.join(found)}",
                get=Effect.ERROR,
                post=Effect.ERROR,
                consequence="at a reload or stop some requests, GET or POST, meet a connection that is being closed",
                fix=f"nginx {'.'.join(map(str, newest))} or newer",
            )


RULE = Rule(
    id="NGX16",
    name="nginx-shutdown-bugs",
    severity=Severity.WARNING,
    what="The version of nginx has a known fault in its graceful shutdown.",
    why="Before 1.21.6 a worker that shuts down still answers `Connection: keep-alive`, so that clients send to a "
    "connection that is being closed. Before 1.25.4 connections with asynchronous file I/O are closed too "
    "early. Before 1.27.1 an HTTP/2 connection with streams delays the shutdown without an end.",
    sources=("https://nginx.org/en/CHANGES",),
    bad={
        "nginx-VT.txt": """\
nginx version: nginx/1.18.0
# configuration file /etc/nginx/nginx.conf:
events {}
# expect: NGX16
http {
    server { listen 8080; location / { proxy_pass http://127.0.0.1:9000; } }
}
""",
    },
    good={
        "nginx-VT.txt": """\
nginx version: nginx/1.28.0
# configuration file /etc/nginx/nginx.conf:
events {}
http {
    server { listen 8080; location / { proxy_pass http://127.0.0.1:9000; } }
}
""",
    },
    fix="Use nginx 1.27.1 or newer. The version is that of the package or image: no directive sets it.",
    check=check,
    lab="its bad example needs an nginx that is older than any supported distribution has",
)
