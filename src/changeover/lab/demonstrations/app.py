"""APP: application servers in Python."""

from __future__ import annotations

from typing import Final

from changeover.lab import traffic
from changeover.lab.demonstration import Demonstration, Happening, Kind, Server


def _unit(command: str, more: str = "") -> dict[str, str]:
    return {"app.service": f"[Service]\nExecStart=/srv/app/bin/{command}\n{more}TimeoutStopSec=500\n"}


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
        "APP01",
        "gunicorn gets SIGTERM while an upload and a download are in flight",
        UNIT,
        Happening.STOP,
        traffic.in_flight,
        bad_files=_unit("gunicorn app:app -k gthread --threads 8"),
        good_files=_unit("gunicorn app:app -k gthread --threads 8 --graceful-timeout 460"),
        defaults={"app.service": "--graceful-timeout 30"},
    ),
    Demonstration(
        "APP01",
        "uvicorn gets SIGTERM while an upload and a download are in flight",
        UNIT,
        Happening.STOP,
        traffic.in_flight,
        bad_files=_unit("uvicorn app:app --timeout-graceful-shutdown 10"),
        good_files=_unit("uvicorn app:app"),
    ),
    Demonstration(
        "APP01",
        "granian gets SIGTERM while an upload and a download are in flight",
        UNIT,
        Happening.STOP,
        traffic.in_flight,
        bad_files=_unit("granian app:app --workers-kill-timeout 10"),
        good_files=_unit("granian app:app"),
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
        traffic.long_in_flight,
    ),
    Demonstration(
        "APP03",
        "gunicorn gets the signal of its unit while an upload is in flight",
        UNIT,
        Happening.STOP,
        traffic.upload_in_flight,
        bad_files=_unit("gunicorn app:app --timeout 460 --graceful-timeout 460", "KillSignal=SIGQUIT\n"),
        good_files=_unit("gunicorn app:app --timeout 460 --graceful-timeout 460"),
    ),
    Demonstration(
        "APP03",
        "hypercorn gets the signal of its unit while an upload and a download are in flight",
        UNIT,
        Happening.STOP,
        traffic.long_in_flight,
        bad_files=_unit("hypercorn app:app --graceful-timeout 460", "KillSignal=SIGQUIT\n"),
        good_files=_unit("hypercorn app:app --graceful-timeout 460", "KillSignal=SIGINT\n"),
    ),
    Demonstration(
        "APP03",
        "every process of hypercorn gets SIGTERM while an upload and a download are in flight",
        UNIT,
        Happening.STOP,
        traffic.long_in_flight,
        bad_files=_unit("hypercorn app:app --graceful-timeout 460"),
        good_files=_unit("hypercorn app:app --graceful-timeout 460", "KillMode=mixed\n"),
    ),
    Demonstration(
        "APP03",
        "granian gets the signal of its unit while an upload and a download are in flight",
        UNIT,
        Happening.STOP,
        traffic.long_in_flight,
        bad_files=_unit("granian app:app", "KillSignal=SIGQUIT\n"),
        good_files=_unit("granian app:app", "KillSignal=SIGINT\n"),
    ),
    Demonstration(
        "APP04",
        "requests arrive on new connections while hypercorn drains, because an upload is in flight",
        UNIT,
        Happening.STOP,
        traffic.arriving_late,
    ),
    Demonstration(
        "APP04",
        "requests arrive on new connections while gunicorn drains, because an upload is in flight",
        UNIT,
        Happening.STOP,
        traffic.arriving_late,
        bad_files=_unit("gunicorn app:app -k gthread --threads 8 --graceful-timeout 460"),
        good_files=_unit("gunicorn app:app -k asgi --graceful-timeout 460"),
    ),
    Demonstration(
        "APP04",
        "requests arrive on new connections while uvicorn drains, because an upload is in flight",
        UNIT,
        Happening.STOP,
        traffic.arriving_late,
        bad_files=_unit("uvicorn app:app --workers 2", "KillMode=mixed\n"),
        good_files=_unit("uvicorn app:app"),
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
