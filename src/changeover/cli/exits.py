"""What the exit codes mean, in one place."""

from __future__ import annotations

from typing import Final

DONE: Final = 0
"""Done, or nothing to do."""
ROLLED_BACK: Final = 1
"""Findings, or rolled back safely."""
COULD_NOT: Final = 2
"""The job could not be done; nothing was broken by trying."""
INTERRUPTED: Final = 3
"""Service was interrupted: a request was lost, duplicated or corrupted."""
