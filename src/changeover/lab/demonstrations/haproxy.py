"""HAP: HAProxy."""

from __future__ import annotations

from typing import Final

from changeover.lab import traffic
from changeover.lab.demonstration import Demonstration, Happening, Kind, Server

HAPROXY: Final = (Server(Kind.HAPROXY, "haproxy.cfg"),)

SHOWN: Final = (
    Demonstration(
        "HAP01",
        "HAProxy gets the signal of its unit while an upload and a download are in flight",
        HAPROXY,
        Happening.STOP,
        traffic.long_in_flight,
    ),
    Demonstration(
        "HAP01",
        "HAProxy gets SIGUSR1, and hard-stop-after ends it, while an upload and a download are in flight",
        HAPROXY,
        Happening.STOP,
        traffic.in_flight,
        good=("haproxy.service",),
    ),
    Demonstration(
        "HAP01",
        "HAProxy is reloaded, and hard-stop-after ends the old process, while an upload and a download are in flight",
        HAPROXY,
        Happening.RELOAD,
        traffic.in_flight,
        good=("haproxy.service",),
    ),
)
