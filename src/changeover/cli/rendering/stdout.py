"""Writes to standard output as it is. Refuses colours and tables, so that it need not import Rich."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from changeover.cli.exits import BROKEN_PIPE


def write_json(data: Mapping[str, Any]) -> None:
    """Print one JSON object on standard output."""
    write(as_json(data))


def as_json(data: Mapping[str, Any]) -> str:
    """One JSON object as commands print it."""
    return json.dumps(data, indent=2) + "\n"


def write(text: str) -> None:
    """Print text on standard output as it is."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        leave()


def leave() -> NoReturn:
    """End the command."""
    discard()
    raise SystemExit(BROKEN_PIPE)


def discard() -> None:
    """Discard all further output. The interpreter's last flush must find somewhere to write to."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
