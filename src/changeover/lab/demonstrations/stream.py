"""STR and CHN: nginx as a TCP proxy, and the idle timeouts of two hops."""

from __future__ import annotations

from typing import Final

from changeover.lab import traffic
from changeover.lab.demonstration import Demonstration, Happening, Kind, Server

BEHIND_EDGE: Final = (Server(Kind.NGINX, "l4.conf"), Server(Kind.NGINX, "edge.conf"))

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
)
