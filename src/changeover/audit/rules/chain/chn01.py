"""CHN01: a server closes idle connections before its client does."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.facts import POOL_IDLE, behind_google, first_hops
from changeover.audit.lines import line
from changeover.audit.pools import pool_fits
from changeover.audit.rule import Rule
from changeover.audit.view import Hop, View
from changeover.conf.place import Place


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    first = first_hops(view)
    if len(first) == 1 and first[0].software != "nginx" and first[0].idle.value != 0:  # NGX06
        yield from _behind_google(view, first[0], asked)
    seen: set[tuple[Place, str]] = set()
    for hop in view.hops:
        for target in hop.targets:
            if (target.place, target.name) in seen:
                continue  # a pool of several listeners
            seen.add((target.place, target.name))
            if target.pool_idle.value != 0 and hop.software != "kong":  # KNG03
                pool = target.pool_idle
                kept = f"the pool of {target.name} keeps connections for {words.span(pool.value or 0)} ({pool.place})"
                yield pool_fits(view, hop, target, pool.place, kept)


def _behind_google(view: View, hop: Hop, asked: Assumptions) -> Iterator[Finding]:
    """The pool of Google's load balancer in front of a first hop."""
    google, evidence = behind_google(view, hop, asked)
    idle = hop.idle
    if google is False:
        return
    if idle.value is None:
        yield unknown(idle.place, hop.name, idle.text, idle.missing)
    elif idle.value > POOL_IDLE:
        yield met(idle.place, hop.name, idle.text, {"margin_seconds": idle.value - POOL_IDLE})
    elif google is None:
        yield unknown(idle.place, hop.name, f"{idle.text}: too short behind Google Cloud", evidence)
    else:
        yield violated(
            idle.place,
            hop.name,
            f"{idle.text}, and the load balancer in front keeps idle connections for 600 s ({evidence})",
            get=Effect.RETRIED,
            post=Effect.ERROR,
            consequence="a request that meets the closing connection fails: the load balancer repeats a GET, and "
            "answers a POST with 502",
            fix=line(idle, hop.software, POOL_IDLE + 20) or f"{POOL_IDLE + 20:.0f} s here",
            replacement=idle.replaced_by(POOL_IDLE + 20),
            numbers={"idle_seconds": idle.value, "pool_idle_seconds": POOL_IDLE},
        )


RULE = Rule(
    id="CHN01",
    name="idle-timeouts-out-of-order",
    severity=Severity.ERROR,
    what="A hop closes idle connections while the pool of the hop in front may still use them.",
    why="If the server of a connection closes it first, the next request may already be on its way. Its idle "
    "timeout must exceed that of the pool in front by a few seconds, on every hop.",
    sources=(
        "https://www.rfc-editor.org/rfc/rfc9112#section-9.6",
        "https://nginx.org/en/docs/http/ngx_http_upstream_module.html#keepalive_timeout",
    ),
    bad={
        "edge.conf": """\
events {}
http {
    upstream inner { server 10.0.0.5:9000 max_fails=0; server 10.0.0.5:9000 max_fails=0; keepalive 32; }
    server {
        listen 8080;
        location / { proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://inner; }
    }
}
""",
        "inner.conf": """\
events {}
http {
    # expect: CHN01
    keepalive_timeout 15s;
    server { listen 9000; location / { proxy_pass http://127.0.0.1:8000; } }
}
""",
    },
    good={
        "edge.conf": """\
events {}
http {
    upstream inner {
        server 10.0.0.5:9000 max_fails=0;
        server 10.0.0.5:9000 max_fails=0;
        keepalive 32;
        keepalive_timeout 5s;
    }
    server {
        listen 8080;
        location / { proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://inner; }
    }
}
""",
        "inner.conf": """\
events {}
http {
    keepalive_timeout 15s;
    server { listen 9000; location / { proxy_pass http://127.0.0.1:8000; } }
}
""",
    },
    fix="Let each pool give up first: its idle timeout at least 5 seconds below that of the server.",
    check=check,
    assume={"nginx": "1.29.0"},
)
