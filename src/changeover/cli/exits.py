"""What the exit codes mean, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

DONE: Final = 0
"""Done, or nothing to do."""
ROLLED_BACK: Final = 1
"""Findings, or rolled back safely."""
COULD_NOT: Final = 2
"""The command could not do its job. It broke no request."""
INTERRUPTED: Final = 3
"""Service was interrupted: a request was lost, duplicated or corrupted, or an instance was killed at its work."""
WORK_TO_DO: Final = 4
"""There is something to do. Only `plan` exits with it."""
UNFINISHED: Final = 5
"""The rollout is unfinished: it is paused, its time is over, or its controller has ended. Both templates may serve."""
FAULT: Final = 70
"""A fault of this program. The message names a report file with the traceback."""

BY_STATE: Mapping[str, int] = {"serving": DONE, "degraded": ROLLED_BACK, "down": COULD_NOT}
"""Of `up` and `status --check`: the state of the chain as a code."""

# What shells report of a program that a signal has ended. Not results of a command, so no page lists them.
SIGNALLED = 128
KEYBOARD = SIGNALLED + 2
BROKEN_PIPE = SIGNALLED + 13
