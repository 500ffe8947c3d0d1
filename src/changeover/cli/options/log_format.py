"""`--log-format`: the form of the lines that commands write on standard error.

It is in the environment, so that the keeper and a detached command have that of the command that starts them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise

VARIABLE = "CHANGEOVER_LOG_FORMAT"
OPTION = "--log-format"


class LogFormat(StrEnum):
    """`dated` begins each line with its time."""

    TEXT = "text"
    DATED = "dated"
    JSON = "json"


def log_format() -> LogFormat:
    """The format of this process."""
    wanted = os.environ.get(VARIABLE)
    return next((one for one in LogFormat if one == wanted), LogFormat.TEXT)


def of_log_file() -> dict[str, str]:
    """The variable for a process whose standard error is a log: seconds since its start would say nothing there."""
    return {VARIABLE: LogFormat.JSON if log_format() is LogFormat.JSON else LogFormat.DATED}


def asks_for_json(words: Sequence[str]) -> bool:
    """Whether lines are objects, also where the command line `words` could not be read."""
    asked = f"{OPTION}={LogFormat.JSON}" in words or (OPTION, LogFormat.JSON) in pairwise(words)
    return asked or log_format() is LogFormat.JSON
