"""The process that sends one message through Apprise; `engine/hooks/notify.py` starts it.

`python -m changeover.engine.hooks.sender`

Reads one JSON object from standard input, {"url": …, "title": …, "body": …, "type": …}, or {"url": …} alone to ask
whether Apprise understands that address. Its last line of output is {"sent": …, "why": …}. Imports nothing of this
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
    """Read what is to be sent, send it, and say in one line what came of it."""
    warnings.simplefilter("ignore")  # some of Apprise's hundred services import what Python gives up
    said: list[str] = []
    log = logging.getLogger("apprise")
    log.addHandler(_Keeper(said))
    log.propagate = False
    try:
        sent = _send(json.load(sys.stdin))
    except Exception as error:  # of any of those services: it is why nothing was sent, and goes where that is told
        sent = False
        said.append(f"{type(error).__name__}: {error}")
    sys.stdout.write("\n" + json.dumps({"sent": sent, "why": " ".join(said) or "Apprise gave no reason"}) + "\n")
    sys.stdout.flush()
    os._exit(0)  # at once, whatever threads a service has left


def _send(asked: Mapping[str, Any]) -> bool:
    import apprise  # here, when its warnings are not errors any more wherever that was asked for

    target = apprise.Apprise.instantiate(asked["url"])
    if target is None or "body" not in asked:
        return target is not None
    sender = apprise.Apprise()
    sender.add(target)
    kind = apprise.NotifyType(asked["type"])
    return bool(sender.notify(asked["body"], asked["title"], kind, body_format=apprise.NotifyFormat.TEXT))


class _Keeper(logging.Handler):
    """Keeps what Apprise complains about."""

    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())


if __name__ == "__main__":
    main()
