"""What rules about stops share."""

from __future__ import annotations

from typing import Final

from changeover.audit.view import Signal

GIVES_UP: Final = 1.0
"""Seconds. A hard signal so soon after the graceful one leaves no time for any request."""
_GRACEFUL: Final = {
    "nginx": {"QUIT"},
    "kong": {"QUIT"},
    "haproxy": {"USR1"},
    "envoy": {"DRAIN"},
    "gunicorn": {"TERM"},
    "uvicorn": {"TERM", "INT"},
    "hypercorn": {"TERM", "INT"},
    "granian": {"TERM", "INT"},
}


THREADS_FINISH: Final = frozenset(("QUIT", "INT"))
"""Signals at which workers of the class gthread finish their requests, within the graceful timeout: measured with
gunicorn 27, whose Python joins the threads of a pool before it exits. The other workers of gunicorn end at once."""


def drains(software: str, signal: Signal, worker_class: str | None = "") -> bool:
    """Whether the software finishes its requests at that signal. `worker_class`: of gunicorn.

    The workers of hypercorn end at once at a SIGTERM of their own; at one to their parent it asks them to drain.
    """
    if software == "hypercorn" and signal.name == "TERM" and signal.whole:
        return False
    if software == "gunicorn" and worker_class == "gthread" and signal.name in THREADS_FINISH:
        return True
    return signal.name in _GRACEFUL.get(software, ())


def is_known(software: str) -> bool:
    """Whether it is known at which signals the software finishes its requests."""
    return software in _GRACEFUL
