"""STR and CHN: nginx as a TCP proxy, and the idle timeouts of two hops."""

from __future__ import annotations

from typing import Final

from changeover.lab import traffic
from changeover.lab.demonstration import Demonstration, Happening, Kind, Server

BEHIND_EDGE: Final = (Server(Kind.NGINX, "l4.conf"), Server(Kind.NGINX, "edge.conf"))


def _app(pool: str, idle: str) -> dict[str, str]:
    """nginx in front of uvicorn: its pool, and the idle timeout of the server."""
    return {
        "edge.conf": f"""\
events {{}}
http {{
    upstream inner {{
        server 10.0.0.5:9000 max_fails=0;
        server 10.0.0.5:9000 max_fails=0;
        keepalive 32;
        {pool}
    }}
    server {{
        listen 8080;
        location / {{ proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://inner; }}
    }}
}}
""",
        "app.service": f"[Service]\nExecStart=/srv/app/bin/uvicorn app:app --host 10.0.0.5 --port 9000{idle}\n",
    }


SHOWN: Final = (
    Demonstration(
        "STR01",
        "the TCP proxy is reloaded while the edge sends requests through its pool without a break",
        BEHIND_EDGE,
        Happening.RELOAD,
        traffic.through_pool,
    ),
    Demonstration(
        "STR02",
        "the TCP proxy is replaced, its old instance ends after the assumed window, and the edge sends without a break",
        BEHIND_EDGE,
        Happening.REPLACE,
        traffic.through_pool,
    ),
    Demonstration(
        "STR03",
        "the application is silent as long as assumed, before it ends its response",
        (Server(Kind.NGINX, "l4.conf"),),
        Happening.NOTHING,
        traffic.silent_application,
    ),
    Demonstration(
        "CHN01",
        "the edge sends uploads after pauses of every length, over a line of 20 ms to the inner hop",
        (Server(Kind.NGINX, "inner.conf"), Server(Kind.NGINX, "edge.conf")),
        Happening.NOTHING,
        traffic.after_pauses,
        line=9000,
        defaults={"edge.conf:keepalive 32;": "keepalive_timeout 60s;"},
    ),
    Demonstration(
        "CHN01",
        "the edge sends uploads after pauses of about 5 s, over a line of 50 ms to uvicorn",
        (Server(Kind.APP, "app.service"), Server(Kind.NGINX, "edge.conf")),
        Happening.NOTHING,
        traffic.after_almost_a_second,
        scale=5,
        line=9000,
        latency=0.05,
        bad_files=_app("", ""),
        good_files=_app("keepalive_timeout 60s;", " --timeout-keep-alive 75"),
        defaults={"edge.conf:keepalive 32;": "keepalive_timeout 60s;", "app.service": "--timeout-keep-alive 5"},
    ),
)
