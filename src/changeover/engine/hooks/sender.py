"""The process that sends one message through Apprise; `engine/hooks/notify.py` starts it.

`python -m changeover.engine.hooks.sender`

It reads one JSON object from standard input: {"url": …, "title": …, "body": …, "type": …}, or only {"url": …} to check
whether Apprise knows that address. Its last line of output is {"sent": …, "why": …}. It imports nothing of this
project, so that it starts quickly.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Mapping
from typing import Any


def main() -> None:
    """Read the message, send it, and print the result in one line."""
    warnings.simplefilter("ignore")  # some of Apprise's services import modules that Python has deprecated
    complaints: list[str] = []
    log = logging.getLogger("apprise")
    log.addHandler(_ComplaintCollector(complaints))
    log.propagate = False
    try:
        sent = _send(json.load(sys.stdin))
    except Exception as error:  # any service may raise anything; the error is the reason in the result
        sent = False
        complaints.append(f"{type(error).__name__}: {error}")
    sys.stdout.write("\n" + json.dumps({"sent": sent, "why": " ".join(complaints) or "Apprise gave no reason"}) + "\n")
    sys.stdout.flush()
    os._exit(0)  # immediately, even if a service has left threads


def _send(message: Mapping[str, Any]) -> bool:
    import apprise  # here, after the warnings filter: a setting of the environment may turn warnings into errors

    target = apprise.Apprise.instantiate(message["url"])
    if target is None or "body" not in message:
        return target is not None
    sender = apprise.Apprise()
    sender.add(target)
    kind = apprise.NotifyType(message["type"])
    return bool(sender.notify(message["body"], message["title"], kind, body_format=apprise.NotifyFormat.TEXT))


class _ComplaintCollector(logging.Handler):
    """Collects the warnings of Apprise."""

    def __init__(self, complaints: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._complaints = complaints

    def emit(self, record: logging.LogRecord) -> None:
        self._complaints.append(record.getMessage())


if __name__ == "__main__":
    main()
