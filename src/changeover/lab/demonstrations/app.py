"""APP: application servers in Python."""

from __future__ import annotations

from typing import Final

from changeover.lab import traffic
from changeover.lab.demonstration import Demonstration, Happening, Kind, Server

UNIT: Final = (Server(Kind.APP, "app.service"),)

SHOWN: Final = (
    Demonstration(
        "APP01",
        "hypercorn gets SIGTERM while an upload and a download are in flight",
        UNIT,
        Happening.STOP,
        traffic.in_flight,
    ),
    Demonstration(
        "APP02",
        "gunicorn receives an upload; nothing is stopped",
        UNIT,
        Happening.NOTHING,
        traffic.slow_upload,
        defaults={"app.service": "--timeout 30"},
    ),
    Demonstration(
        "APP03",
        "uvicorn gets the signal of its unit while an upload and a download are in flight",
        UNIT,
        Happening.STOP,
        traffic.slow_in_flight,
    ),
    Demonstration(
        "APP04",
        "requests arrive on new connections while the server drains, because an upload is in flight",
        UNIT,
        Happening.STOP,
        traffic.arriving_late,
    ),
    Demonstration(
        "APP06",
        "uvicorn gets the signals of its manager, at their times, while an upload and a download are in flight",
        (Server(Kind.APP, "supervisord.conf"),),
        Happening.STOP,
        traffic.in_flight,
        scale=60,
    ),
)
