"""A line on standard error as a JSON object, and the message in a line of any form.

Refuses to show more than the text does: secrets are removed before a text comes here.
"""

from __future__ import annotations

import json
import logging
import re
import time

from changeover.kit.clock import utc

_DATED = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z  ")


def as_object(
    message: str,
    at: float | None = None,
    *,
    level: str = "info",
    event: str = "note",
    tier: str = "",
    instance: str = "",
    rollout: int | None = None,
) -> str:
    """One line. `at`: seconds since the epoch; None: now."""
    line = {
        "time": utc(time.time() if at is None else at),
        "level": level,
        "rollout": rollout,
        "tier": tier or None,
        "instance": instance or None,
        "event": event,
        "message": message,
    }
    return json.dumps(line) + "\n"


def message_of(line: str) -> str:
    """The message in a line of any format."""
    if line.startswith("{"):
        try:
            return str(json.loads(line)["message"])
        except (ValueError, KeyError):
            return line
    return _DATED.sub("", line, count=1)


class ObjectHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Has warnings of libraries, and of servers that set no handler of their own, as objects too."""

    terminator = ""

    def format(self, record: logging.LogRecord) -> str:
        text = logging.Formatter().format(record)
        return as_object(text, record.created, level=record.levelname.lower(), event="log")
