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


def drains(software: str, signal: Signal) -> bool:
    """Whether the software finishes its requests at that signal.

    The workers of hypercorn end at once at a SIGTERM of their own; at one to their parent it asks them to drain.
    """
    if software == "hypercorn" and signal.name == "TERM" and signal.whole:
        return False
    return signal.name in _GRACEFUL.get(software, ())
